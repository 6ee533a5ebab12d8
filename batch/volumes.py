"""How fast a new machine's root volume is loaded from its snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

REGION_RATE = 5_000
"""MiB/s of volume initialization that a region grants an account (EBS user guide, "Amazon EBS
Provisioned Rate for Volume Initialization"); a launch that asks for more fails."""

LOWEST_RATE, HIGHEST_RATE = 100, 300
"""MiB/s that one volume may ask for."""


def vcpus_of(instance_type: str) -> int:
    """vCPUs of a machine type, from its size: 4 for each `xlarge`, as all GPU families have it.

    A size that says nothing (`metal`) counts as one xlarge, which errs towards more machines.
    """
    size = instance_type.partition(".")[2]
    if size == "large":
        return 2
    xlarge = re.fullmatch(r"(\d*)xlarge", size)
    return 4 * int(xlarge[1] or 1) if xlarge else 4


def initialization_rate(
    wanted: int | Literal["auto", "off"], *, instance_types: Sequence[str], max_vcpus: int
) -> int | None:
    """MiB/s for the launch template, or None to leave it out.

    `auto` shares the region's rate among the most machines that `max_vcpus` (of all environments
    together) allows, all starting at once, and is off where that leaves less than one volume may
    ask for.
    """
    if wanted == "off":
        return None
    if wanted != "auto":
        return wanted
    rate = min(HIGHEST_RATE, REGION_RATE // most_machines(instance_types, max_vcpus))
    return rate if rate >= LOWEST_RATE else None


def most_machines(instance_types: Sequence[str], max_vcpus: int) -> int:
    """How many machines of the smallest type fit into `max_vcpus`; at least one."""
    return max(1, max_vcpus // min(map(vcpus_of, instance_types)))


def rate_warning(
    wanted: int | Literal["auto", "off"], *, instance_types: Sequence[str], max_vcpus: int
) -> str | None:
    """What a reader should know about this choice, in a sentence; None when all is well."""
    machines = most_machines(instance_types, max_vcpus)
    if wanted == "off":
        return None
    if wanted == "auto":
        if initialization_rate(wanted, instance_types=instance_types, max_vcpus=max_vcpus):
            return None
        return (
            f"maxVcpus allows {machines} machines at once, which leaves each less than the "
            f"{LOWEST_RATE} MiB/s that a volume's initialization rate may be: it is off, and the "
            f"first reads of a new machine are slow. At most {REGION_RATE // LOWEST_RATE} "
            f"machines leave it on."
        )
    if wanted * machines > REGION_RATE:
        return (
            f"{machines} machines at once at {wanted} MiB/s ask for more than the {REGION_RATE} "
            f"MiB/s that a region grants an account: the launches beyond it fail until earlier "
            f"volumes are loaded. {max(LOWEST_RATE, REGION_RATE // machines)} MiB/s is safer."
        )
    return None
