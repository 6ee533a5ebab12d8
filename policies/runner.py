"""The document of who runs `pulumi`: what our providers and the `aws` plugin ask of AWS.

No action has a wildcard. Things that carry tags are narrowed by the tag `project`, which the
program puts on all that it makes; the others by the names that Pulumi gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policies.scope import Scope

Statement = dict[str, Any]

LOOK = (
    "batch:DescribeComputeEnvironments",
    "batch:DescribeJobDefinitions",
    "batch:DescribeJobQueues",
    "ec2:DescribeFastSnapshotRestores",
    "ec2:DescribeImageReferences",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "logs:DescribeLogGroups",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
)
"""Actions that know no resource (AWS service authorization reference)."""
OWN_EC2 = {
    "instance": ("CreateImage", "CreateTags", "DeleteTags", "StopInstances", "TerminateInstances"),
    "volume": ("CreateTags", "DeleteTags"),
    "image": (
        "CreateTags",
        "DeleteTags",
        "DeregisterImage",
        "DescribeImageAttribute",
        "DisableImage",
        "DisableImageDeregistrationProtection",
        "EnableImage",
        "ModifyImageAttribute",
    ),
    "snapshot": (
        "CreateTags",
        "DeleteSnapshot",
        "DeleteTags",
        "DisableFastSnapshotRestores",
        "EnableFastSnapshotRestores",
    ),
    "launch-template": (
        "CreateLaunchTemplateVersion",
        "CreateTags",
        "DeleteLaunchTemplate",
        "DeleteTags",
        "ModifyLaunchTemplate",
    ),
    "security-group": (
        "AuthorizeSecurityGroupEgress",
        "CreateTags",
        "DeleteSecurityGroup",
        "DeleteTags",
        "RevokeSecurityGroupEgress",
    ),
}
"""What may be done with a thing of EC2's that carries the project's tag."""
MADE_EC2 = {
    "instance": "RunInstances",
    "volume": "RunInstances",
    "image": "CreateImage",
    "snapshot": "CreateImage",
    "launch-template": "CreateLaunchTemplate",
    "security-group": "CreateSecurityGroup",
}
"""What makes each kind of thing: allowed where the request tags it with the project."""
WITHOUT_ACCOUNT = ("image", "snapshot")
"""Kinds whose ARNs name no account."""
PUBLISHING = {
    "image": ("DisableImageDeprecation", "EnableImageDeprecation",
              "EnableImageDeregistrationProtection"),
    "snapshot": ("DescribeSnapshotAttribute", "ModifySnapshotAttribute"),
}  # fmt: skip
"""What `publication` does besides, with the AMI's and its copies' images and snapshots."""
PUBLISHING_LOOKS = (
    "ec2:DescribeRegions",
    "ec2:GetEbsDefaultKmsKeyId",
    "ec2:GetEbsEncryptionByDefault",
)
ROLES = ("builder-*", "gpu-host-*")
"""Names that Pulumi gives the roles and profiles of the builder and of the Batch machines."""
BATCH = ("gpu-*",)
REFERENCES = {
    "imagebuilder:GetContainerRecipe": "imagebuilder container-recipe/*",
    "imagebuilder:ListContainerRecipes": "",
    "imagebuilder:ListImageRecipes": "",
    "ssm:DescribeParameters": "",
    "ssm:GetParameters": "ssm parameter/*",
}
"""What EC2 asks in the caller's name to find out who refers to an AMI, and of what (AWS managed
policy AmazonEC2ImageReferencesAccessPolicy); "" for actions that know no resource."""
SERVICES = {
    "batch.amazonaws.com": "AWSServiceRoleForBatch",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
}


def runner_policy(scope: Scope) -> Statement:
    """The whole document, for the settings of one stack."""
    statements = [
        _allow("Look", [*LOOK, *(a for a, kind in REFERENCES.items() if not kind)], "*"),
        *(
            _allow(action.replace(":", ""), [action], scope.arn(*kind.split(" ")))
            for action, kind in REFERENCES.items()
            if kind
        ),
        *_ec2(scope),
        *_commands(scope),
        *_content(scope),
        *_iam(scope),
        *_batch(scope),
        *_key(scope),
        *_publication(scope),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: str | Sequence[str],
    condition: Mapping[str, Any] | None = None,
) -> Statement:
    listed = resources if isinstance(resources, str) else sorted(set(resources))
    found: Statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions)}
    found["Resource"] = listed
    return found | ({"Condition": dict(condition)} if condition else {})


def _things(scope: Scope, kind: str) -> list[str]:
    """The ARN of every thing of a kind; those of AMIs also where copies go."""
    if kind in WITHOUT_ACCOUNT:
        regions = (scope.region, *scope.copy_regions)
        return [scope.public_arn("ec2", f"{kind}/*", region=region) for region in regions]
    return [scope.arn("ec2", f"{kind}/*")]


def _ec2(scope: Scope) -> list[Statement]:
    settings, project = scope.settings, scope.project
    own = {"StringEquals": {"aws:ResourceTag/project": project}}
    new = {"StringEquals": {"aws:RequestTag/project": project}}
    makers = sorted(set(MADE_EC2.values()))
    every = [arn for kind in MADE_EC2 for arn in _things(scope, kind)]
    groups = [scope.arn("ec2", f"security-group/{one}") for one in settings.security_group_ids]
    launch = [
        scope.public_arn("ec2", "image/*"),  # the base AMI, and AMIs to be checked
        scope.arn("ec2", "network-interface/*"),
        scope.arn("ec2", "spot-instances-request/*"),
        *(scope.arn("ec2", f"subnet/{one}") for one in settings.subnet_ids),
        *groups,
    ]
    statements = [
        _allow("LaunchFrom", ["ec2:RunInstances"], launch),
        _allow(
            "TagWhatIsMade",
            ["ec2:CreateTags"],
            every,
            {"StringEquals": {"ec2:CreateAction": makers, "aws:RequestTag/project": project}},
        ),
    ]
    for action in makers:
        kinds = [kind for kind, maker in MADE_EC2.items() if maker == action]
        made = [arn for kind in kinds for arn in _things(scope, kind)]
        statements.append(_allow(f"Tagged{action}", [f"ec2:{action}"], made, new))
    for kind, actions in OWN_EC2.items():
        name = "".join(word.capitalize() for word in kind.split("-"))
        named = [f"ec2:{action}" for action in actions]
        statements.append(_allow(f"Own{name}", named, _things(scope, kind), own))
    if not groups:
        vpc = scope.arn("ec2", f"vpc/{settings.vpc_id}")
        own_group = [scope.arn("ec2", "security-group/*")]
        statements.append(_allow("GroupInVpc", ["ec2:CreateSecurityGroup"], vpc))
        statements.append(_allow("LaunchInOwnGroup", ["ec2:RunInstances"], own_group, own))
    return statements


def _commands(scope: Scope) -> list[Statement]:
    own = {"StringEquals": {"aws:ResourceTag/project": scope.project}}
    machines = scope.arn("ec2", "instance/*")
    # AWS's own documents and parameters belong to no account: `*` stands for nothing there too.
    document = f"arn:{scope.partition}:ssm:{scope.region}:*:document/AWS-RunShellScript"
    return [
        _allow("RunSteps", ["ssm:SendCommand"], machines, own),
        _allow("RunScripts", ["ssm:SendCommand"], document),
        _allow("BaseAmi", ["ssm:GetParameter"], _parameter(scope)),
    ]


def _parameter(scope: Scope) -> str:
    base = scope.settings.base_ami
    name = base if base.startswith("/") else "/aws/service/ecs/optimized-ami/*"
    return f"arn:{scope.partition}:ssm:{scope.region}:*:parameter{name}"


def _content(scope: Scope) -> list[Statement]:
    """What the image and the models are: looked up at each preview, never downloaded."""
    host, _, name = scope.settings.repository_url.partition("/")
    account, region = host.partition(".")[0], host.split(".")[3]
    repository = f"arn:{scope.partition}:ecr:{region}:{account}:repository/{name}"
    images = ["BatchGetImage", "DescribeImages", "GetLifecyclePolicy", "ListImages"]
    found = [_allow("ImageByTag", [f"ecr:{action}" for action in images], repository)]
    sources = [model.source.removeprefix("s3://") for model in scope.settings.all_models()
               if model.source.startswith("s3://")]  # fmt: skip
    if sources:
        arn = f"arn:{scope.partition}:s3:::"
        objects = [f"{arn}{one}{'*' if one.endswith('/') else ''}" for one in sources]
        buckets = [f"{arn}{one.partition('/')[0]}" for one in sources]
        found.append(_allow("ModelObjects", ["s3:GetObject"], objects))
        found.append(_allow("ModelBuckets", ["s3:ListBucket"], buckets))
    return found


def _iam(scope: Scope) -> list[Statement]:
    """Only roles and profiles under the names that this program gives, and AWS's own for Batch."""
    roles = [scope.iam_arn(f"role/{name}") for name in ROLES]
    profiles = [scope.iam_arn(f"instance-profile/{name}") for name in ROLES]
    linked = [f"role/aws-service-role/{service}/{name}" for service, name in SERVICES.items()]
    of_role = [
        "CreateRole", "DeleteRole", "DeleteRolePolicy", "GetRole", "GetRolePolicy",
        "ListAttachedRolePolicies", "ListInstanceProfilesForRole", "ListRolePolicies",
        "PutRolePolicy", "TagRole", "UntagRole",
    ]  # fmt: skip
    of_profile = [
        "AddRoleToInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile",
        "GetInstanceProfile", "RemoveRoleFromInstanceProfile", "TagInstanceProfile",
        "UntagInstanceProfile",
    ]  # fmt: skip
    passed = {"StringEquals": {"iam:PassedToService": ["batch.amazonaws.com", "ec2.amazonaws.com"]}}
    return [
        _allow("Roles", [f"iam:{action}" for action in of_role], roles),
        _allow("Profiles", [f"iam:{action}" for action in of_profile], profiles),
        _allow("PassRoles", ["iam:PassRole"], roles, passed),
        _allow("ServiceRoles", ["iam:GetRole"], [scope.iam_arn(one) for one in linked]),
        _allow(
            "MakeServiceRoles",
            ["iam:CreateServiceLinkedRole"],
            [scope.iam_arn(one) for one in linked],
            {"StringEquals": {"iam:AWSServiceName": sorted(SERVICES)}},
        ),
    ]


def _batch(scope: Scope) -> list[Statement]:
    def of(kind: str) -> list[str]:
        return [scope.arn("batch", f"{kind}/{name}") for name in BATCH]

    environments, queues, definitions = of("compute-environment"), of("job-queue"), of(
        "job-definition"
    )  # fmt: skip
    groups = scope.arn("logs", "log-group:gpu-jobs-*")
    logs = [
        "CreateLogGroup", "DeleteLogGroup", "ListTagsForResource", "PutRetentionPolicy",
        "TagResource", "UntagResource",
    ]  # fmt: skip
    return [
        _allow(
            "Environments",
            [f"batch:{verb}ComputeEnvironment" for verb in ("Create", "Delete", "Update")],
            environments,
        ),
        _allow(
            "Queues",
            [f"batch:{verb}JobQueue" for verb in ("Create", "Delete", "Update")],
            [*queues, *environments],
        ),
        _allow(
            "Definitions",
            ["batch:DeregisterJobDefinition", "batch:RegisterJobDefinition"],
            definitions,
        ),
        _allow(
            "BatchTags",
            ["batch:TagResource", "batch:UntagResource"],
            [*environments, *queues, *definitions],
        ),
        _allow("JobLogs", [f"logs:{action}" for action in logs], groups),
    ]


def _key(scope: Scope) -> list[Statement]:
    """A customer key: looked at, granted to those who start machines, and used through EC2."""
    key = scope.settings.encryption_key
    if key is None:
        return []
    through = {"StringEquals": {"kms:ViaService": f"ec2.{scope.region}.amazonaws.com"}}
    used = [
        "Decrypt", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
    ]  # fmt: skip
    grants = ["CreateGrant", "DescribeKey", "ListGrants", "RevokeGrant"]
    return [
        _allow("Key", [f"kms:{action}" for action in grants], key),
        _allow("KeyThroughEc2", [f"kms:{action}" for action in used], key, through),
    ]


def _publication(scope: Scope) -> list[Statement]:
    """Sharing, copies, dates and protection; nothing without `publication`."""
    if not scope.publishes:
        return []
    found = [_allow("LookAround", PUBLISHING_LOOKS, "*")]
    own = {"StringEquals": {"aws:ResourceTag/project": scope.project}}
    for kind, actions in PUBLISHING.items():
        named = [f"ec2:{action}" for action in actions]
        found.append(_allow(f"Publish{kind.capitalize()}", named, _things(scope, kind), own))
    there = [
        scope.public_arn("ec2", f"{kind}/*", region=region)
        for region in scope.copy_regions
        for kind in WITHOUT_ACCOUNT
    ]
    if there:
        new = {"StringEquals": {"aws:RequestTag/project": scope.project}}
        tagged = {"StringEquals": {"ec2:CreateAction": "CopyImage", **new["StringEquals"]}}
        found.append(_allow("Copy", ["ec2:CopyImage"], there, new))
        found.append(_allow("TagCopies", ["ec2:CreateTags"], there, tagged))
    keys = scope.copy_keys
    if keys:
        through = [f"ec2.{region}.amazonaws.com" for region in (scope.region, *scope.copy_regions)]
        used = [
            "CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom",
            "ReEncryptTo",
        ]  # fmt: skip
        by_ec2 = {"StringEquals": {"kms:ViaService": through}}
        found.append(_allow("CopyKeys", ["kms:DescribeKey"], keys))
        found.append(_allow("CopyKeysThroughEc2", [f"kms:{a}" for a in used], keys, by_ec2))
    return found
