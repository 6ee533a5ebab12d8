"""The disks of volumes and snapshots: what EBS lets them be, what they are made of, their end."""

from __future__ import annotations

import contextlib
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.machines.contract import ColdReads
from local_cloud.services import ec2_base_images
from local_cloud.services.ec2_model import (
    Instance,
    Snapshot,
    Volume,
    now,
    sees,
    snapshots,
    volumes,
)
from local_cloud.services.kms import encryption

DEFAULT_IOPS = {"gp3": 3000, "io1": 100, "io2": 100}
TYPES = ("standard", "io1", "io2", "gp2", "sc1", "st1", "gp3")


def ebs_view(
    call: Call, ebs: Params, *, size: int, zone: str, snapshot_id: str | None
) -> dict[str, Any]:
    """What a new volume with these EBS settings shows. Raises for settings that EBS refuses."""
    kind = ebs.get("VolumeType", "gp2")
    if kind not in TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{kind}' for VolumeType.")
    if not 1 <= size <= 65536:
        raise AwsError("InvalidParameterValue", f"The volume size {size} GiB is not valid.")
    rate = ebs.get("VolumeInitializationRate")
    if rate is not None and not 100 <= rate <= 300:
        raise AwsError(
            "InvalidParameterValue",
            f"The volume initialization rate {rate} is not valid: from 100 to 300 MiB/s.",
        )
    if rate is not None and snapshot_id is None:
        raise AwsError(
            "InvalidParameterCombination",
            "A volume initialization rate can only be given for a volume made from a snapshot.",
        )
    view: dict[str, Any] = {
        "Size": size, "SnapshotId": snapshot_id or "", "AvailabilityZone": zone,
        "VolumeType": kind, "CreateTime": now(), "Attachments": [], "State": "creating",
        "MultiAttachEnabled": False,
    }  # fmt: skip
    source = snapshots(call.cloud)[snapshot_id].view if snapshot_id else None
    view |= encryption(call, ebs, source)
    iops = (
        ebs.get("Iops") or DEFAULT_IOPS.get(kind) or (max(100, 3 * size) if kind == "gp2" else None)
    )
    if iops:
        view["Iops"] = iops
    if kind == "gp3":
        view["Throughput"] = ebs.get("Throughput") or 125
    elif ebs.get("Throughput"):
        raise AwsError(
            "InvalidParameterCombination", f"The parameter Throughput is not supported for {kind}."
        )
    if rate is not None:
        view["VolumeInitializationRate"] = rate
    return view


def make_disk(cloud: Cloud, volume: Volume) -> None:
    """Make the bytes of a volume that is recorded already."""
    snapshot_id = volume.view["SnapshotId"] or None
    if snapshot_id is not None:
        ec2_base_images.ensure_base_disk(cloud, snapshots(cloud)[snapshot_id])
    cloud.disks.create_volume(
        volume.id, size_gib=volume.view["Size"], snapshot_id=snapshot_id,
        cold=_cold_reads(cloud, volume) if snapshot_id else None,
    )  # fmt: skip


def _cold_reads(cloud: Cloud, volume: Volume) -> ColdReads | None:
    rate = cloud.latency.profile.cold_volumes.first_read_mb_per_s
    if rate is None:
        return None
    initialization = volume.view.get("VolumeInitializationRate")
    return ColdReads(first_read_mb_per_s=rate, initialization_mib_s=initialization)


def drop_volume(cloud: Cloud, volume_id: str) -> None:
    """Delete a volume and its bytes, whatever its state. May be repeated."""
    with cloud.store.lock:
        volumes(cloud).pop(volume_id, None)
    with contextlib.suppress(KeyError):
        cloud.disks.delete_volume(volume_id)


def drop_snapshot(cloud: Cloud, snapshot_id: str) -> None:
    """Delete a snapshot and its bytes. May be repeated."""
    with cloud.store.lock:
        snapshots(cloud).pop(snapshot_id, None)
    with contextlib.suppress(KeyError):
        cloud.disks.delete_snapshot(snapshot_id)


def get_completed_snapshot(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot that volumes can be made from and that can be copied."""
    snapshot = find_readable_snapshot(call, snapshot_id)
    if snapshot.view["State"] != "completed":
        raise AwsError("IncorrectState", f"Snapshot is in invalid state - {snapshot.view['State']}")
    return snapshot


def find_readable_snapshot(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot of the caller's, or one of AWS's."""
    snapshot = snapshots(call.cloud).get(snapshot_id)
    readable = (
        snapshot is not None
        and snapshot.region == call.region
        and sees(call, snapshot)
        and (
            snapshot.account == call.account
            or snapshot.family is not None
            or {"UserId": call.account} in snapshot.permissions
            or {"Group": "all"} in snapshot.permissions
        )
    )
    if snapshot is None or not readable:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return snapshot


def attach_at_launch(
    volume: Volume, instance: Instance, device: str, *, delete_on_termination: bool
) -> None:
    """Record that a machine is made with this volume."""
    volume.view["State"] = "in-use"
    volume.view["Attachments"] = [
        {
            "AttachTime": now(), "Device": device, "InstanceId": instance.id, "State": "attached",
            "VolumeId": volume.id, "DeleteOnTermination": delete_on_termination,
        }
    ]  # fmt: skip
    instance.view["BlockDeviceMappings"].append(
        {
            "DeviceName": device,
            "Ebs": {
                "AttachTime": now(), "DeleteOnTermination": delete_on_termination,
                "Status": "attached", "VolumeId": volume.id,
            },
        }
    )  # fmt: skip
