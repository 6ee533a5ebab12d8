"""EBS volumes by hand: made, looked at, grown and deleted."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.lifecycle import at_start
from local_cloud.services.ec2_disks import (
    drop_volume,
    ebs_view,
    get_completed_snapshot,
    make_disk,
)
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_initialization import check_initialization, start_initialization
from local_cloud.services.ec2_model import (
    Volume,
    get_all,
    get_volume,
    hide_if_ordered,
    mine,
    new_id,
    now,
    refuse_dry_run,
    tags_for,
    volumes,
)
from local_cloud.services.ec2_network import find_zone

FIELDS = {
    "volume-id": "VolumeId", "size": "Size", "snapshot-id": "SnapshotId", "status": "State",
    "availability-zone": "AvailabilityZone", "create-time": "CreateTime",
    "encrypted": "Encrypted", "volume-type": "VolumeType",
    "attachment.instance-id": "Attachments[].InstanceId",
    "attachment.device": "Attachments[].Device", "attachment.status": "Attachments[].State",
    "attachment.delete-on-termination": "Attachments[].DeleteOnTermination",
    "attachment.attach-time": "Attachments[].AttachTime",
}  # fmt: skip


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
