"""AMIs: described, deregistered, and what their names must be."""

from __future__ import annotations

import re
from datetime import timedelta

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_base_images import ensure_base_images
from local_cloud.services.ec2_disks import drop_snapshot
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_launch import is_usable, may_use
from local_cloud.services.ec2_model import (
    Image,
    check_image_id,
    images,
    now,
    refuse_dry_run,
    sees,
    snapshot_ids,
    timestamp_text,
)
from local_cloud.services.ec2_snapshots import image_using

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
FIELDS = {
    "image-id": "ImageId", "name": "Name", "state": "State", "description": "Description",
    "architecture": "Architecture", "owner-id": "OwnerId", "owner-alias": "ImageOwnerAlias",
    "is-public": "Public", "root-device-type": "RootDeviceType",
    "root-device-name": "RootDeviceName", "virtualization-type": "VirtualizationType",
    "creation-date": "CreationDate", "image-type": "ImageType", "hypervisor": "Hypervisor",
    "ena-support": "EnaSupport", "manifest-location": "ImageLocation",
    "source-instance-id": "SourceInstanceId", "source-image-id": "SourceImageId",
    "source-image-region": "SourceImageRegion", "boot-mode": "BootMode",
    "block-device-mapping.snapshot-id": "BlockDeviceMappings[].Ebs.SnapshotId",
    "block-device-mapping.device-name": "BlockDeviceMappings[].DeviceName",
    "block-device-mapping.volume-size": "BlockDeviceMappings[].Ebs.VolumeSize",
    "block-device-mapping.volume-type": "BlockDeviceMappings[].Ebs.VolumeType",
    "block-device-mapping.encrypted": "BlockDeviceMappings[].Ebs.Encrypted",
    "block-device-mapping.delete-on-termination":
        "BlockDeviceMappings[].Ebs.DeleteOnTermination",
}  # fmt: skip


def get_own_image(call: Call, image_id: str) -> Image:
    """The caller's image. Raises as EC2 does for one that is gone, never was, or is not theirs."""
    check_image_id(image_id)
    ensure_base_images(call.cloud, call.region)
    image = images(call.cloud).get(image_id)
    if image is None or not is_usable(call, image):
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    if image.account != call.account:
        raise AwsError("AuthFailure", f"Not authorized for image:{image_id}", status=403)
    if image.deregistered:
        raise AwsError(
            "InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available"
        )
    return image


def check_name(call: Call, name: str) -> None:
    """EC2's form of names, and that no other image of the account in this region has it."""
    if not NAME.fullmatch(name):
        raise AwsError(
            "InvalidAMIName.Malformed",
            f"AMI names must be between 3 and 128 characters long, and may contain letters, numbers"
            f" and ()[] ./-'@_ ({name!r})",
        )
    for image in list(images(call.cloud).values()):
        same = image.account == call.account and image.region == call.region
        if same and not image.deregistered and image.view["Name"] == name:
            raise AwsError(
                "InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}"
            )


@handles("ec2", "DescribeImages")
def describe_images(call: Call) -> Params:
    ensure_base_images(call.cloud, call.region)
    ask = call.params
    seen = [
        one
        for one in list(images(call.cloud).values())
        if one.region == call.region
        and not one.deregistered
        and may_use(call, one)
        and sees(call, one)
    ]
    ids = ask.get("ImageIds", [])
    if ids:
        seen = _by_ids(seen, ids)
    owners = [call.account if owner == "self" else owner for owner in ask.get("Owners", [])]
    if owners:
        seen = [
            one
            for one in seen
            if one.account in owners or one.view.get("ImageOwnerAlias") in owners
        ]
    if not ask.get("IncludeDisabled") and not ids:
        seen = [one for one in seen if one.view["State"] != "disabled"]
    if not ask.get("IncludeDeprecated"):
        seen = [one for one in seen if one.account == call.account or not _is_deprecated(one)]
    users = ask.get("ExecutableUsers", [])
    if users:
        seen = [one for one in seen if _executable_by(call, one, users)]
    shown = filtered(call, [_shown_to(call, one) for one in seen], FIELDS, call.action)
    return page(call, shown, "Images")


def _by_ids(seen: list[Image], ids: list[str]) -> list[Image]:
    for one in ids:
        check_image_id(one)
    known = {image.id: image for image in seen}
    missing = [one for one in ids if one not in known]
    if missing:
        many = len(missing) > 1
        raise AwsError(
            "InvalidAMIID.NotFound",
            f"The image id{'s' if many else ''} '[{', '.join(missing)}]' do{'' if many else 'es'}"
            " not exist",
        )
    return [known[one] for one in ids]


def _is_deprecated(image: Image) -> bool:
    at = image.view.get("DeprecationTime")
    return at is not None and at <= timestamp_text(now())


def _executable_by(call: Call, image: Image, users: list[str]) -> bool:
    wanted = {call.account if user == "self" else user for user in users}
    if "all" in wanted and {"Group": "all"} in image.permissions:
        return True
    return any({"UserId": user} in image.permissions for user in wanted)


def _shown_to(call: Call, image: Image) -> Params:
    shown = image.looked_at(call)
    shown["DeregistrationProtection"] = image.protection
    if image.account != call.account:
        shown["Tags"] = []
    return shown


@handles("ec2", "DeregisterImage")
def deregister_image(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    if image.protection.startswith("enabled"):
        raise AwsError(
            "OperationNotPermitted",
            f"The image '{image.id}' is protected from deregistration; disable that first.",
        )
    refuse_dry_run(call)
    with call.cloud.store.lock:
        image.deregistered = True
        wanted = snapshot_ids(image)
    if not call.params.get("DeleteAssociatedSnapshots"):
        return {"Return": True}
    results = []
    for snapshot_id in wanted:
        if image_using(call.cloud, snapshot_id) is not None:
            results.append({"SnapshotId": snapshot_id, "ReturnCode": "skipped"})
            continue
        drop_snapshot(call.cloud, snapshot_id)
        results.append({"SnapshotId": snapshot_id, "ReturnCode": "success"})
    return {"Return": True, "DeleteSnapshotResults": results}


@handles("ec2", "ImportImage", "ExportImage", "CreateRestoreImageTask")
def refuse_other_ways(call: Call) -> Params:
    raise not_modelled(
        f"ec2:{call.action} (images come by CreateImage, CopyImage and RegisterImage)"
    )


#: A deprecation date at most ten years ahead, as EC2 allows.
LATEST_DEPRECATION = timedelta(days=3653)
