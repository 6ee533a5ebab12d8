"""The disks of a launch: the image's, changed and completed by what the launch asks for."""

from __future__ import annotations

from dataclasses import dataclass

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_disks import ebs_view, get_completed_snapshot
from local_cloud.services.ec2_model import Image


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One volume of a launch. `view` is what it shows, but for its zone."""

    device: str
    view: Params
    size_gib: int
    snapshot_id: str | None
    delete_on_termination: bool


def plan_disks(call: Call, image: Image, asked: list[Params]) -> list[Disk]:
    """The image's disks, changed and completed by the mappings asked for; the root comes first."""
    merged: dict[str, Params] = {
        mapping["DeviceName"]: dict(mapping.get("Ebs", {}))
        for mapping in image.view["BlockDeviceMappings"]
        if "Ebs" in mapping
    }
    root = image.view["RootDeviceName"]
    for mapping in asked:
        device = mapping.get("DeviceName")
        if not device:
            raise AwsError("MissingParameter", "The request must contain the parameter deviceName")
        if mapping.get("NoDevice") is not None:
            if device == root:
                raise AwsError("InvalidBlockDeviceMapping", "The root device cannot be left out")
            merged.pop(device, None)
        elif mapping.get("VirtualName"):
            raise not_modelled("instance store disks (VirtualName)")
        else:
            merged[device] = _overlay(merged.get(device, {}), mapping.get("Ebs", {}))
    names = sorted(merged, key=lambda name: (name != root, name))
    return [plan_disk(call, name, merged[name]) for name in names]


def _overlay(base: Params, ebs: Params) -> Params:
    """The image's settings under those asked for; another volume type brings its own defaults."""
    kept = dict(base)
    if ebs.get("VolumeType", kept.get("VolumeType")) != kept.get("VolumeType"):
        kept.pop("Iops", None)
        kept.pop("Throughput", None)
    if base.get("SnapshotId") and ebs.get("SnapshotId", base["SnapshotId"]) != base["SnapshotId"]:
        raise AwsError("InvalidBlockDeviceMapping", "snapshotId cannot be modified on root device")
    if base.get("Encrypted") and ebs.get("Encrypted") is False:
        raise AwsError(
            "InvalidBlockDeviceMapping", "The encrypted flag cannot be false for this snapshot"
        )
    return kept | ebs


def plan_disk(call: Call, device: str, ebs: Params) -> Disk:
    """A disk of a snapshot, or an empty one. Raises as EC2 does."""
    snapshot_id = ebs.get("SnapshotId")
    smallest = 1
    if snapshot_id:
        smallest = get_completed_snapshot(call, snapshot_id).view["VolumeSize"]
    size = ebs.get("VolumeSize") or (smallest if snapshot_id else None)
    if size is None:
        raise AwsError(
            "MissingParameter",
            f"The request must contain the parameter size or snapshotId ({device})",
        )
    if size < smallest:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{snapshot_id}', expect size >="
            f" {smallest}GB",
        )
    return Disk(
        device=device, size_gib=size, snapshot_id=snapshot_id,
        view=ebs_view(call, ebs, size=size, zone="", snapshot_id=snapshot_id),
        delete_on_termination=ebs.get("DeleteOnTermination", True),
    )  # fmt: skip
