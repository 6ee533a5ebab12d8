"""The compute environments of a queue: one on the market asked for, perhaps one behind it."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi import ResourceOptions
from pulumi_aws import batch, ec2, iam

from batch.args import GpuBatchArgs, Market

IMAGE_TYPES = {"al2023": "ECS_AL2023_NVIDIA", "al2": "ECS_AL2_NVIDIA"}
STRATEGIES: dict[Market, str] = {
    "spot": "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "on-demand": "BEST_FIT_PROGRESSIVE",
}
UPDATABLE = (*STRATEGIES.values(), "SPOT_CAPACITY_OPTIMIZED")
"""Strategies under which Batch updates an environment's machines in place (AWS Batch user guide,
"Updating compute environments")."""
UPDATE_MARGIN_MIN = 45
"""Minutes that an update may take beyond those that jobs get: machines end, new ones come."""


def create_environments(
    name: str,
    args: GpuBatchArgs,
    profile: iam.InstanceProfile,
    template: ec2.LaunchTemplate,
    *,
    needs: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> list[batch.ComputeEnvironment]:
    """The environments in the queue's order; all start machines of the one launch template."""
    warning = find_warning(args)
    if warning:
        pulumi.log.warn(warning, parent)
    return [
        _create(
            name if number == 0 else f"{name}-{market}",
            args,
            market,
            args.on_demand_max_vcpus if number else args.max_vcpus,
            args.allocation_strategy if number == 0 else None,
            profile,
            template,
            ResourceOptions(
                parent=parent, depends_on=needs, custom_timeouts=_timeouts(update_minutes(args))
            ),
        )
        for number, market in enumerate(args.markets())
    ]


def update_minutes(args: GpuBatchArgs) -> int:
    """How long an update of the environment may take, in minutes."""
    return args.job_minutes_on_update + UPDATE_MARGIN_MIN


def find_warning(args: GpuBatchArgs) -> str | None:
    """Why a new AMI would replace the environment instead of updating it, or None."""
    if args.service_role is not None:
        why = "service_role names a role of your own"
    elif args.allocation_strategy not in (None, *UPDATABLE):
        why = f"allocation_strategy is {args.allocation_strategy}"
    else:
        return None
    return (
        f"{why}, so Batch cannot update the compute environment in place: every new AMI makes "
        f"another environment, the queue moves to it, and only then the old one ends, with the "
        f"jobs that still run there. Leave it out to have AMIs roll in under running jobs."
    )


def _timeouts(minutes: int) -> pulumi.CustomTimeouts:
    return pulumi.CustomTimeouts(create="20m", update=f"{minutes}m", delete=f"{minutes}m")


def _create(
    name: str,
    args: GpuBatchArgs,
    market: Market,
    max_vcpus: int,
    strategy: str | None,
    profile: iam.InstanceProfile,
    template: ec2.LaunchTemplate,
    opts: ResourceOptions,
) -> batch.ComputeEnvironment:
    """Named by Pulumi, so that one that must be replaced is there before the other goes."""
    image_type = pulumi.Output.from_input(args.ami_family).apply(IMAGE_TYPES.__getitem__)
    return batch.ComputeEnvironment(
        name,
        type="MANAGED",
        state="ENABLED",
        service_role=args.service_role,
        compute_resources={
            "type": "SPOT" if market == "spot" else "EC2",
            "allocation_strategy": strategy or STRATEGIES[market],
            "min_vcpus": args.min_vcpus if market == args.markets()[0] else 0,
            "max_vcpus": max_vcpus,
            "instance_types": list(args.instance_types),
            "subnets": list(args.subnet_ids),
            "security_group_ids": list(args.security_group_ids),
            "instance_role": profile.arn,
            "ec2_configurations": [{"image_type": image_type, "image_id_override": args.ami_id}],
            "launch_template": {
                "launch_template_id": template.id,
                "version": template.latest_version.apply(str),
            },
            "tags": {"Name": name, **args.tags},
        },
        update_policy={
            "job_execution_timeout_minutes": args.job_minutes_on_update,
            "terminate_jobs_on_update": args.terminate_jobs_on_update,
        }
        if find_warning(args) is None
        else None,
        tags=args.tags,
        opts=opts,
    )
