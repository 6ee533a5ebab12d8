"""What a Batch machine is: its role and profile, and the launch template it starts from."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import ResourceOptions
from pulumi_aws import cloudwatch, ebs, ec2, iam, kms

from batch import documents
from batch.args import GpuBatchArgs
from batch.volumes import initialization_rate, rate_warning

GRANTED = (
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "CreateGrant",
)
"""What a role that launches machines does with their volumes' key (EC2 Auto Scaling user guide,
"Required AWS KMS key policy for use with encrypted volumes")."""
LAUNCHERS = {
    "batch": "aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
    "on-demand": "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "spot": "aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
}
"""Paths of the service-linked roles that start machines for Batch, on every market or on one."""


def create_host_profile(
    name: str, args: GpuBatchArgs, logs: cloudwatch.LogGroup, opts: ResourceOptions
) -> tuple[iam.InstanceProfile, iam.RolePolicy]:
    """What a machine is allowed: ECS, its image, its log; nothing else."""
    role = iam.Role(
        name,
        description="Machines that AWS Batch starts from the baked AMI",
        assume_role_policy=documents.trust("ec2.amazonaws.com"),
        tags=args.tags,
        opts=opts,
    )
    document = pulumi.Output.all(args.region, args.image_uri, logs.arn).apply(
        lambda known: documents.host_policy(
            region=known[0], image_uri=known[1], log_group_arn=known[2]
        )
    )
    permissions = iam.RolePolicy(name, role=role.name, policy=document, opts=opts)
    profile = iam.InstanceProfile(name, role=role.name, tags=args.tags, opts=opts)
    return profile, permissions


def create_launch_template(
    name: str, args: GpuBatchArgs, opts: ResourceOptions
) -> ec2.LaunchTemplate:
    """Machine settings that an environment cannot hold: root volume, IMDSv2, tags."""
    volume: dict[str, Any] = {
        "volume_type": "gp3",
        "volume_size": args.root_volume_gib,
        "iops": args.volume_iops,
        "throughput": args.volume_throughput,
        "delete_on_termination": "true",
    }
    rate = get_volume_rate(args)
    if rate is not None:
        volume["volume_initialization_rate"] = rate
    warning = rate_warning(
        args.volume_initialization_rate,
        instance_types=args.instance_types,
        max_vcpus=_count_vcpus(args),
    )
    if warning:
        pulumi.log.warn(warning, opts.parent)
    tags = {"Name": name, **args.tags}
    return ec2.LaunchTemplate(
        name,
        description="Machines of the baked AMI",
        image_id=args.ami_id,
        update_default_version=True,
        block_device_mappings=[{"device_name": args.root_device, "ebs": volume}],
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 2,  # a job's container is one hop further away
        },
        tag_specifications=[
            {"resource_type": kind, "tags": tags} for kind in ("instance", "volume")
        ],
        tags=args.tags,
        opts=opts,
    )


def get_volume_rate(args: GpuBatchArgs) -> int | None:
    """MiB/s at which EBS loads a new root volume; None as EBS pleases."""
    return initialization_rate(
        args.volume_initialization_rate,
        instance_types=args.instance_types,
        max_vcpus=_count_vcpus(args),
    )


def _count_vcpus(args: GpuBatchArgs) -> int:
    """The most vCPUs that all environments together have at once."""
    return args.max_vcpus + args.on_demand_max_vcpus


def keep_snapshot_ready(name: str, args: GpuBatchArgs, opts: ResourceOptions) -> None:
    """Fast snapshot restore in each zone asked for; billed by the hour while it is on."""
    for zone in args.fast_snapshot_restore_zones:
        assert args.snapshot_id is not None  # the args have seen to it
        ebs.FastSnapshotRestore(
            f"{name}-{zone}", availability_zone=zone, snapshot_id=args.snapshot_id, opts=opts
        )


def create_grants(
    name: str, args: GpuBatchArgs, logs: cloudwatch.LogGroup, opts: ResourceOptions
) -> list[pulumi.Resource]:
    """Let the roles that start machines use the customer key; nothing without one.

    The log group's ARN tells the partition and the account.
    """
    if args.encryption_key is None:
        return []
    markets = ["batch", *args.markets()]
    roles = logs.arn.apply(lambda arn: f"arn:{arn.split(':')[1]}:iam::{arn.split(':')[4]}:role/")
    return [
        kms.Grant(
            f"{name}-{market}",
            key_id=args.encryption_key,
            grantee_principal=pulumi.Output.concat(roles, LAUNCHERS[market]),
            operations=list(GRANTED),
            opts=opts,
        )
        for market in markets
    ]
