"""Calls that moto answers with a success that would mean nothing here: they are refused instead."""

from __future__ import annotations

#: moto keeps instances, volumes, snapshots, images and commands of its own, which are not ours:
#: an action on them that no handler of ours answers would miss, or pretend.
_EC2_WORDS = ("Instance", "Image", "Volume", "Snapshot", "Fleet", "Spot", "Reserved", "Bundle")
_EC2_ANSWERED_BY_MOTO = frozenset(
    {"DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeReservedInstances"}
)
#: Actions on our machines by other words, and settings that would have to change what we make.
_EC2_REFUSED = frozenset(
    {"AllocateHosts", "AssociateAddress", "AttachNetworkInterface", "DetachNetworkInterface",
     "EnableEbsEncryptionByDefault", "GetLaunchTemplateData", "GetPasswordData",
     "ModifyEbsDefaultKmsKeyId"}
)  # fmt: skip
#: What would list or launch moto's machines, volumes and images, never ours.
_OF_MOTOS_MACHINES = frozenset(
    {("autoscaling", "CreateAutoScalingGroup"), ("resourcegroupstaggingapi", "GetResources")}
)
_SSM_ANSWERED_BY_MOTO = ("Parameter", "TagsForResource", "TagsToResource", "TagsFromResource")


def why_refused(service: str, action: str) -> str | None:
    """What is not modelled when moto must not answer this action, or None."""
    if service == "ec2":
        if action in _EC2_ANSWERED_BY_MOTO:
            return None
        if action in _EC2_REFUSED or any(word in action for word in _EC2_WORDS):
            return f"ec2:{action}"
    if service == "ssm" and not any(word in action for word in _SSM_ANSWERED_BY_MOTO):
        return f"ssm:{action}"
    if (service, action) in _OF_MOTOS_MACHINES:
        return f"{service}:{action}"
    if service == "s3" and action == "SelectObjectContent":  # moto would need all of it in memory
        return f"s3:{action}"
    return None
