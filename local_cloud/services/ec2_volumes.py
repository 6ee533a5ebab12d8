"""EBS volumes: made at launch or by hand, attached, grown and deleted."""

from __future__ import annotations

import contextlib
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.lifecycle import at_start
from local_cloud.machines.contract import ColdReads
from local_cloud.services import ec2_base_images
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_initialization import check_initialization, start_initialization
from local_cloud.services.ec2_model import (
    Instance,
    Snapshot,
    Volume,
    get_all,
    get_volume,
    hide_if_ordered,
    mine,
    new_id,
    now,
    refuse_dry_run,
    sees,
    snapshots,
    tags_for,
    volumes,
)
from local_cloud.services.ec2_network import find_zone
from local_cloud.services.kms import encryption

FIELDS = {
    "volume-id": "VolumeId", "size": "Size", "snapshot-id": "SnapshotId", "status": "State",
    "availability-zone": "AvailabilityZone", "create-time": "CreateTime",
    "encrypted": "Encrypted", "volume-type": "VolumeType",
    "attachment.instance-id": "Attachments[].InstanceId",
    "attachment.device": "Attachments[].Device", "attachment.status": "Attachments[].State",
    "attachment.delete-on-termination": "Attachments[].DeleteOnTermination",
    "attachment.attach-time": "Attachments[].AttachTime",
}  # fmt: skip
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


@handles("ec2", "DescribeVolumes")
def describe_volumes(call: Call) -> Params:
    ids = call.params.get("VolumeIds", [])
    table = volumes(call.cloud)
    found = get_all(call, table, ids, "vol") if ids else mine(call, table)
    shown = filtered(call, [one.looked_at(call) for one in found], FIELDS, "DescribeVolumes")
    return page(call, shown, "Volumes")


@handles("ec2", "CreateVolume")
def create_volume(call: Call) -> Params:
    ask = call.params
    if ask.get("MultiAttachEnabled"):
        raise not_modelled("multi-attach volumes")
    zone = find_zone(call, ask, refusal="InvalidZone.NotFound")
    if zone is None:
        raise AwsError(
            "MissingParameter", "The request must contain the parameter AvailabilityZone"
        )
    size, snapshot_id = ask.get("Size"), ask.get("SnapshotId")
    if snapshot_id:
        smallest = get_completed_snapshot(call, snapshot_id).view["VolumeSize"]
        size = smallest if size is None else size
        if size < smallest:
            raise AwsError(
                "InvalidParameterValue",
                f"The size of a volume cannot be less than that of its snapshot, {smallest} GiB",
            )
    if size is None:
        raise AwsError(
            "MissingParameter", "The request must contain the parameter size or snapshotId"
        )
    refuse_dry_run(call)
    view = ebs_view(call, ask, size=size, zone=zone, snapshot_id=snapshot_id)
    check_initialization(call, view.get("VolumeInitializationRate", 0))
    volume_id = new_id("vol")
    volume = Volume(
        id=volume_id, account=call.account, region=call.region,
        view={"VolumeId": volume_id} | view,
        tags=tags_for(ask.get("TagSpecifications", []), "volume"),
    )  # fmt: skip
    make_disk(call.cloud, volume)
    answer = volume.shown()
    volumes(call.cloud)[volume_id] = volume
    start_initialization(call, volume)
    hide_if_ordered(call, volume)
    _become_available(call.cloud, volume, call.cloud.latency.due("volume_creating"))
    return answer


def _become_available(cloud: Cloud, volume: Volume, due: float) -> None:
    def work() -> None:
        if not cloud.pause(due):
            volume.view["State"] = "available"

    if cloud.latency.is_past(due):
        work()
    else:
        cloud.background(f"volume {volume.id}", work)


@at_start
def go_on(cloud: Cloud) -> None:
    """Volumes that an earlier cloud was making are there."""
    for volume in list(volumes(cloud).values()):
        if volume.view["State"] == "creating":
            volume.view["State"] = "available"


@handles("ec2", "DeleteVolume")
def delete_volume(call: Call) -> Params:
    volume = get_volume(call, call.params["VolumeId"])
    if volume.view["Attachments"]:
        user = volume.view["Attachments"][0]["InstanceId"]
        raise AwsError("VolumeInUse", f"Volume {volume.id} is currently attached to {user}")
    refuse_dry_run(call)
    drop_volume(call.cloud, volume.id)
    return {}


@handles("ec2", "ModifyVolume")
def modify_volume(call: Call) -> Params:
    """Grow a volume or change its kind; both take effect at once."""
    ask = call.params
    volume = get_volume(call, ask["VolumeId"])
    before = dict(volume.view)
    size = ask.get("Size", before["Size"])
    if size < before["Size"]:
        raise AwsError("InvalidParameterValue", "New size cannot be smaller than existing size")
    refuse_dry_run(call)
    settings = {"VolumeType": before["VolumeType"]} | {
        name: ask[name] for name in ("VolumeType", "Iops", "Throughput") if name in ask
    }
    view = ebs_view(call, settings, size=size, zone=before["AvailabilityZone"], snapshot_id=None)
    if size > before["Size"]:
        call.cloud.disks.grow_volume(volume.id, size_gib=size)
    volume.view.update(
        {n: view[n] for n in ("Size", "VolumeType", "Iops", "Throughput") if n in view}
    )
    moment = now()
    modification = {
        "VolumeId": volume.id, "ModificationState": "completed", "Progress": 100,
        "StartTime": moment, "EndTime": moment, "OriginalSize": before["Size"],
        "OriginalVolumeType": before["VolumeType"], "TargetSize": size,
        "TargetVolumeType": volume.view["VolumeType"],
    }  # fmt: skip
    call.cloud.store.table("ec2 volume modifications")[volume.id] = modification
    return {"VolumeModification": modification | {"ModificationState": "modifying", "Progress": 0}}


@handles("ec2", "DescribeVolumesModifications")
def describe_volumes_modifications(call: Call) -> Params:
    made = call.cloud.store.table("ec2 volume modifications")
    ids = call.params.get("VolumeIds") or [volume.id for volume in mine(call, volumes(call.cloud))]
    return {"VolumesModifications": [made[one] for one in ids if one in made]}


@handles("ec2", "AttachVolume", "DetachVolume")
def attach_or_detach(call: Call) -> Params:
    """Refused: a disk cannot be put into a machine that runs, or out of it."""
    get_volume(call, call.params["VolumeId"])
    raise not_modelled(f"ec2:{call.action} (disks are attached at launch only)")


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
