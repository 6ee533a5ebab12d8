"""Statements about what is EC2's: machines, disks, AMIs, templates, groups; publishing AMIs.

What is made has to be tagged with the project, and what is there has to have that tag.
"""

from __future__ import annotations

from policies.scope import Scope
from policies.statements import Statement, allow

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


def ec2_statements(scope: Scope) -> list[Statement]:
    """To make machines, AMIs and what belongs to them, and to do the rest with the own ones."""
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
        allow("LaunchFrom", ["ec2:RunInstances"], launch),
        allow(
            "TagWhatIsMade",
            ["ec2:CreateTags"],
            every,
            {"StringEquals": {"ec2:CreateAction": makers, "aws:RequestTag/project": project}},
        ),
    ]
    for action in makers:
        kinds = [kind for kind, maker in MADE_EC2.items() if maker == action]
        made = [arn for kind in kinds for arn in _things(scope, kind)]
        statements.append(allow(f"Tagged{action}", [f"ec2:{action}"], made, new))
    for kind, actions in OWN_EC2.items():
        name = "".join(word.capitalize() for word in kind.split("-"))
        named = [f"ec2:{action}" for action in actions]
        statements.append(allow(f"Own{name}", named, _things(scope, kind), own))
    if not groups:
        vpc = scope.arn("ec2", f"vpc/{settings.vpc_id}")
        own_group = [scope.arn("ec2", "security-group/*")]
        statements.append(allow("GroupInVpc", ["ec2:CreateSecurityGroup"], vpc))
        statements.append(allow("LaunchInOwnGroup", ["ec2:RunInstances"], own_group, own))
    return statements


def publication_statements(scope: Scope) -> list[Statement]:
    """Sharing, copies, dates and protection; nothing without `publication`."""
    if not scope.publishes:
        return []
    found = [allow("LookAround", PUBLISHING_LOOKS, "*")]
    own = {"StringEquals": {"aws:ResourceTag/project": scope.project}}
    for kind, actions in PUBLISHING.items():
        named = [f"ec2:{action}" for action in actions]
        found.append(allow(f"Publish{kind.capitalize()}", named, _things(scope, kind), own))
    there = [
        scope.public_arn("ec2", f"{kind}/*", region=region)
        for region in scope.copy_regions
        for kind in WITHOUT_ACCOUNT
    ]
    if there:
        new = {"StringEquals": {"aws:RequestTag/project": scope.project}}
        tagged = {"StringEquals": {"ec2:CreateAction": "CopyImage", **new["StringEquals"]}}
        found.append(allow("Copy", ["ec2:CopyImage"], there, new))
        found.append(allow("TagCopies", ["ec2:CreateTags"], there, tagged))
    keys = scope.copy_keys
    if keys:
        through = [f"ec2.{region}.amazonaws.com" for region in (scope.region, *scope.copy_regions)]
        used = [
            "CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom",
            "ReEncryptTo",
        ]  # fmt: skip
        by_ec2 = {"StringEquals": {"kms:ViaService": through}}
        found.append(allow("CopyKeys", ["kms:DescribeKey"], keys))
        found.append(allow("CopyKeysThroughEc2", [f"kms:{a}" for a in used], keys, by_ec2))
    return found


def _things(scope: Scope, kind: str) -> list[str]:
    """The ARN of every thing of a kind; those of AMIs also where copies go."""
    if kind in WITHOUT_ACCOUNT:
        regions = (scope.region, *scope.copy_regions)
        return [scope.public_arn("ec2", f"{kind}/*", region=region) for region in regions]
    return [scope.arn("ec2", f"{kind}/*")]
