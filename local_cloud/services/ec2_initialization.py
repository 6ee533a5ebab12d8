"""The region's budget of MiB/s for volumes that are initialized from snapshots at a set rate."""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.faults import Facts
from local_cloud.services.ec2_model import Volume, volumes

#: EBS user guide, "Initialize Amazon EBS volumes": for each region, over concurrent requests.
BUDGET_MIB_S = 5000
MIB = 1024**2


def _initializing(cloud: Cloud) -> dict[str, Any]:
    """Volumes that were asked for with a rate: region, account, MiB/s, and when they are done."""
    return cloud.store.table("ec2 volume initializations")


def check_initialization(call: Call, rate: int, facts: Facts | None = None) -> None:
    """Whether volumes of these MiB/s in all may start now, beside those still initializing.

    AWS says that such a request fails, and not with which code: this is EC2's general one.
    """
    if not rate:
        return
    limits = call.cloud.faults.limits("initialization-budget", facts or {"region": call.region})
    budget = min([one.mib_s for one in limits], default=BUDGET_MIB_S)
    now, known = call.cloud.latency.clock.now(), volumes(call.cloud)
    under_way = sum(
        speed
        for volume_id, (region, account, speed, until) in list(_initializing(call.cloud).items())
        if (region, account) == (call.region, call.account) and until > now and volume_id in known
    )
    if under_way + rate <= budget:
        return
    limit = min(limits, key=lambda one: one.mib_s) if limits else None
    if limit is not None and not call.cloud.faults.refuses(limit):
        return
    said = (
        f"The volume initialization rate requested ({rate} MiB/s) with what is being initialized"
        f" in {call.region} ({under_way} MiB/s) exceeds the limit of {budget} MiB/s."
    )
    raise AwsError(
        (limit and limit.code) or "ResourceLimitExceeded", (limit and limit.message) or said
    )


def start_initialization(call: Call, volume: Volume) -> None:
    """A new volume uses up its rate until all that its snapshot holds is there."""
    rate = volume.view.get("VolumeInitializationRate")
    if rate:
        until = call.cloud.latency.clock.now() + _held(call.cloud, volume) / (rate * MIB)
        _initializing(call.cloud)[volume.id] = (call.region, call.account, rate, until)


def share_done(cloud: Cloud, volume: Volume) -> tuple[float, float] | None:
    """How much of the volume's data its rate has brought (0 to 1), and the seconds left.

    None for a volume without a rate.
    """
    if volume.id not in _initializing(cloud):
        return None
    _, _, rate, until = _initializing(cloud)[volume.id]
    whole = _held(cloud, volume) / (rate * MIB)
    left = max(0.0, until - cloud.latency.clock.now())
    return max(0.0, 1 - left / whole), left


def _held(cloud: Cloud, volume: Volume) -> int:
    """Bytes of the volume's snapshot; where that is not known, as many as the volume has."""
    try:
        return cloud.disks.usage(volume.view["SnapshotId"]).allocated_bytes
    except KeyError:  # deleted since, or a base image's that nobody has used yet
        return int(volume.view["Size"]) * 1024 * MIB
