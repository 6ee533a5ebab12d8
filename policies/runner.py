"""The document of who runs `pulumi`: what our providers and the `aws` plugin ask of AWS.

No action has a wildcard. Things that carry tags are narrowed by the tag `project`, which the
program puts on all that it makes; the others by the names that Pulumi gives them.
"""

from __future__ import annotations

from policies.ec2 import ec2_statements, publication_statements
from policies.scope import Scope
from policies.statements import Statement, allow

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
        allow("Look", [*LOOK, *(a for a, kind in REFERENCES.items() if not kind)], "*"),
        *(
            allow(action.replace(":", ""), [action], scope.arn(*kind.split(" ")))
            for action, kind in REFERENCES.items()
            if kind
        ),
        *ec2_statements(scope),
        *_commands(scope),
        *_content(scope),
        *_iam(scope),
        *_batch(scope),
        *_key(scope),
        *publication_statements(scope),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _commands(scope: Scope) -> list[Statement]:
    own = {"StringEquals": {"aws:ResourceTag/project": scope.project}}
    machines = scope.arn("ec2", "instance/*")
    # AWS's own documents and parameters belong to no account: `*` stands for nothing there too.
    document = f"arn:{scope.partition}:ssm:{scope.region}:*:document/AWS-RunShellScript"
    return [
        allow("RunSteps", ["ssm:SendCommand"], machines, own),
        allow("RunScripts", ["ssm:SendCommand"], document),
        allow("BaseAmi", ["ssm:GetParameter"], _parameter(scope)),
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
    found = [allow("ImageByTag", [f"ecr:{action}" for action in images], repository)]
    sources = [model.source.removeprefix("s3://") for model in scope.settings.all_models()
               if model.source.startswith("s3://")]  # fmt: skip
    if sources:
        arn = f"arn:{scope.partition}:s3:::"
        objects = [f"{arn}{one}{'*' if one.endswith('/') else ''}" for one in sources]
        buckets = [f"{arn}{one.partition('/')[0]}" for one in sources]
        found.append(allow("ModelObjects", ["s3:GetObject"], objects))
        found.append(allow("ModelBuckets", ["s3:ListBucket"], buckets))
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
        allow("Roles", [f"iam:{action}" for action in of_role], roles),
        allow("Profiles", [f"iam:{action}" for action in of_profile], profiles),
        allow("PassRoles", ["iam:PassRole"], roles, passed),
        allow("ServiceRoles", ["iam:GetRole"], [scope.iam_arn(one) for one in linked]),
        allow(
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
        allow(
            "Environments",
            [f"batch:{verb}ComputeEnvironment" for verb in ("Create", "Delete", "Update")],
            environments,
        ),
        allow(
            "Queues",
            [f"batch:{verb}JobQueue" for verb in ("Create", "Delete", "Update")],
            [*queues, *environments],
        ),
        allow(
            "Definitions",
            ["batch:DeregisterJobDefinition", "batch:RegisterJobDefinition"],
            definitions,
        ),
        allow(
            "BatchTags",
            ["batch:TagResource", "batch:UntagResource"],
            [*environments, *queues, *definitions],
        ),
        allow("JobLogs", [f"logs:{action}" for action in logs], groups),
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
        allow("Key", [f"kms:{action}" for action in grants], key),
        allow("KeyThroughEc2", [f"kms:{action}" for action in used], key, through),
    ]
