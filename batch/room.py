"""Are the machine types that an environment names there, and does a job fit on one of them?

Batch takes a job that no machine of its queue has room for; it then waits for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi import InvokeOutputOptions
from pulumi_aws import ec2

from batch.args import GpuBatchArgs, JobArgs


def check_room(args: GpuBatchArgs, parent: pulumi.Resource) -> pulumi.Output[None]:
    """Ask EC2 for the types, beside everything else that is going on.

    The program ends with `RunError`, already at preview, where one of them is not there or none
    has room for the job. Families and `optimal` are Batch's to choose from: nothing is asked.
    """
    wanted = list(args.instance_types)
    if not all("." in kind for kind in wanted):
        return pulumi.Output.from_input(None)
    options = InvokeOutputOptions(parent=parent)
    filters: Any = [{"name": "instance-type", "values": wanted}]
    there = ec2.get_instance_types_output(filters=filters, region=args.region, opts=options)

    def look(found: Sequence[str]) -> pulumi.Output[None]:
        missing = [kind for kind in wanted if kind not in found]
        if missing:
            raise pulumi.RunError(
                f"instance_types: there is no {' and no '.join(missing)} in this region. Correct "
                f"the name, or choose another type."
            )
        kinds = [
            ec2.get_instance_type_output(instance_type=kind, region=args.region, opts=options)
            for kind in wanted
        ]
        known: pulumi.Output[Sequence[ec2.GetInstanceTypeResult]] = pulumi.Output.all(*kinds)
        return known.apply(lambda found: _refuse_without_room(found, args.job))

    checked: pulumi.Output[None] = there.instance_types.apply(look)
    return checked


def _refuse_without_room(kinds: Sequence[ec2.GetInstanceTypeResult], job: JobArgs) -> None:
    if not any(has_room(kind, job) for kind in kinds):
        have = "; ".join(map(_describe, kinds))
        raise pulumi.RunError(
            f"job: {job.vcpus} vCPUs, {job.memory_mib} MiB and {job.gpus} GPUs fit on no machine "
            f"of instance_types ({have}), so it would wait for ever. Ask for less, or add a larger "
            f"type."
        )


def has_room(kind: ec2.GetInstanceTypeResult, job: JobArgs) -> bool:
    """Whether a job fits on an empty machine of the type. Some memory is the system's own."""
    return (
        job.vcpus <= kind.default_vcpus
        and job.memory_mib < kind.memory_size
        and job.gpus <= _count_gpus(kind)
    )


def _count_gpus(kind: ec2.GetInstanceTypeResult) -> int:
    return sum(gpu.count for gpu in kind.gpuses)


def _describe(kind: ec2.GetInstanceTypeResult) -> str:
    return (
        f"{kind.instance_type}: {kind.default_vcpus} vCPUs, {kind.memory_size} MiB, "
        f"{_count_gpus(kind)} GPUs"
    )
