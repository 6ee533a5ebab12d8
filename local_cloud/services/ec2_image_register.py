"""RegisterImage: an image of snapshots that are there already, as surrogate builds make them."""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_base_images import image_view
from local_cloud.services.ec2_images import check_name
from local_cloud.services.ec2_launch_disks import plan_disk
from local_cloud.services.ec2_model import (
    Image,
    hide_if_ordered,
    images,
    new_id,
    now,
    refuse_dry_run,
    tags_for,
    timestamp_text,
)

#: What a registered image may say of itself and is shown as it was said.
SHOWN = ("BootMode", "ImdsSupport", "TpmSupport", "SriovNetSupport")
KNOWN = {
    "Name", "Description", "Architecture", "RootDeviceName", "BlockDeviceMappings", "EnaSupport",
    "VirtualizationType", "TagSpecifications", "DryRun", *SHOWN,
}  # fmt: skip


@handles("ec2", "RegisterImage")
def register_image(call: Call) -> Params:
    """Only x86-64 images with hardware virtualization: no machine here runs another."""
    ask = call.params
    for name in sorted(
        name for name in set(ask) - KNOWN if ask[name]
    ):  # Terraform sends empty ones
        raise not_modelled(f"{name} in RegisterImage")
    for name in ("Name", "RootDeviceName"):
        if not ask.get(name):
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    if ask.get("Architecture", "i386") != "x86_64":
        raise not_modelled(f"images of the architecture {ask.get('Architecture', 'i386')}")
    if ask.get("VirtualizationType", "paravirtual") != "hvm":
        raise not_modelled("paravirtual images (give VirtualizationType hvm)")
    mappings = [mapping_of(call, one) for one in ask.get("BlockDeviceMappings", [])]
    roots = [one for one in mappings if one["DeviceName"] == ask["RootDeviceName"]]
    if not roots or "SnapshotId" not in roots[0]["Ebs"]:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"The root device {ask['RootDeviceName']} must be mapped to a snapshot",
        )
    with call.cloud.store.lock:
        check_name(call, ask["Name"])
        refuse_dry_run(call)
        image = _recorded(call, mappings, roots[0]["Ebs"]["SnapshotId"])
        images(call.cloud)[image.id] = image
        hide_if_ordered(call, image)
    return {"ImageId": image.id}


def _recorded(call: Call, mappings: list[Params], root_snapshot_id: str) -> Image:
    ask, image_id = call.params, new_id("ami")
    view = image_view(
        image_id, ask["Name"], ask.get("Description", ""), owner=call.account,
        snapshot_id=root_snapshot_id,
    )  # fmt: skip
    for name in SHOWN:
        view.pop(name, None)
        if ask.get(name):
            view[name] = ask[name]
    view.update(
        CreationDate=timestamp_text(now()), RootDeviceName=ask["RootDeviceName"],
        EnaSupport=ask.get("EnaSupport", False), BlockDeviceMappings=mappings,
    )  # fmt: skip
    return Image(
        id=image_id, account=call.account, region=call.region, view=view,
        tags=tags_for(ask.get("TagSpecifications", []), "image"),
    )  # fmt: skip


def mapping_of(call: Call, asked: Params) -> Params:
    """A disk of an image that is not a machine's: of a snapshot, or empty. Raises as EC2 does."""
    device, ebs = asked.get("DeviceName"), asked.get("Ebs")
    if not device:
        raise AwsError("MissingParameter", "The request must contain the parameter deviceName")
    if ebs is None or asked.get("VirtualName"):
        raise not_modelled(f"an image's disk that is not EBS's ({device})")
    disk = plan_disk(call, device, ebs)
    shown: dict[str, Any] = {
        "VolumeSize": disk.size_gib, "VolumeType": disk.view["VolumeType"],
        "Encrypted": disk.view["Encrypted"], "DeleteOnTermination": disk.delete_on_termination,
    }  # fmt: skip
    if disk.snapshot_id:
        shown["SnapshotId"] = disk.snapshot_id
    if ebs.get("KmsKeyId"):
        shown["KmsKeyId"] = disk.view["KmsKeyId"]
    for name in ("Iops", "Throughput"):
        if name in disk.view and not (name == "Iops" and disk.view["VolumeType"] == "gp2"):
            shown[name] = disk.view[name]
    return {"DeviceName": device, "Ebs": shown}
