"""AMIs: made from machines, copied, described, deregistered."""

from __future__ import annotations

import copy
import re
from datetime import timedelta
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.machines.contract import MachineError
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_base_images import ensure_base_images
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_launch import may_use
from local_cloud.services.ec2_model import (
    Image,
    Instance,
    Snapshot,
    get_instances,
    images,
    instance_lock,
    new_id,
    now,
    refuse_dry_run,
    snapshots,
    tags_for,
    timestamp_text,
    volumes,
)
from local_cloud.services.ec2_snapshots import (
    complete,
    copy_of,
    drop_snapshot,
    image_using,
    record_snapshot,
)

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
    if not image_id.startswith("ami-"):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    ensure_base_images(call.cloud, call.region)
    image = images(call.cloud).get(image_id)
    if image is None or image.region != call.region or not may_use(call, image):
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
    for image in images(call.cloud).values():
        same = image.account == call.account and image.region == call.region
        if same and not image.deregistered and image.view["Name"] == name:
            raise AwsError(
                "InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}"
            )


@handles("ec2", "CreateImage")
def create_image(call: Call) -> Params:
    ask = call.params
    instance = get_instances(call, [ask["InstanceId"]])[0]
    if instance.state not in ("running", "stopped"):
        raise AwsError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which an image can be made: it is"
            f" {instance.state}.",
        )
    for one in ask.get("TagSpecifications", []):
        if one.get("ResourceType") not in ("image", "snapshot"):
            raise AwsError(
                "InvalidParameterValue",
                f"'{one.get('ResourceType')}' is not a valid taggable resource type here.",
            )
    if ask.get("SnapshotLocation", "regional") != "regional":
        raise not_modelled("local snapshots")
    with call.cloud.store.lock:
        check_name(call, ask["Name"])
        refuse_dry_run(call)
        image, copies = _record_image(call, instance)
        images(call.cloud)[image.id] = image
        for snapshot, _ in copies:
            snapshots(call.cloud)[snapshot.id] = snapshot
    job = call.cloud.background(
        f"image {image.id}",
        lambda: _copy_disks(
            call.cloud, image, instance, copies, reboot=not ask.get("NoReboot", False)
        ),
    )
    ec2_lifecycle.wait_until_settled([job])
    return {"ImageId": image.id}


def _record_image(call: Call, instance: Instance) -> tuple[Image, list[tuple[Snapshot, str]]]:
    """The pending image, and its pending snapshots with the volume each is of."""
    ask, image_id = call.params, new_id("ami")
    snapshot_tags = tags_for(ask.get("TagSpecifications", []), "snapshot")
    changes = {one["DeviceName"]: one for one in ask.get("BlockDeviceMappings", [])}
    mappings: list[Params] = []
    copies: list[tuple[Snapshot, str]] = []
    for mapping in instance.view["BlockDeviceMappings"]:
        change = changes.pop(mapping["DeviceName"], {})
        if change.get("NoDevice") is not None:
            continue
        volume = volumes(call.cloud)[mapping["Ebs"]["VolumeId"]]
        snapshot = record_snapshot(
            account=call.account, region=call.region, volume=volume, tags=dict(snapshot_tags),
            description=f"Created by CreateImage({instance.id}) for {image_id}",
        )  # fmt: skip
        copies.append((snapshot, volume.id))
        mappings.append(_mapping(mapping, volume.view, snapshot.id, change.get("Ebs", {})))
    if changes:
        raise not_modelled(f"another disk in CreateImage ({', '.join(changes)})")
    source = images(call.cloud)[instance.view["ImageId"]]
    view = copy.deepcopy(source.view)
    for name in ("ImageOwnerAlias", "PublicSsmParameterName", "DeprecationTime", "SourceImageId",
                 "SourceImageRegion", "LastLaunchedTime", "DeregistrationProtection"):  # fmt: skip
        view.pop(name, None)
    view.update(
        ImageId=image_id, Name=ask["Name"], Description=ask.get("Description", ""),
        OwnerId=call.account, ImageLocation=f"{call.account}/{ask['Name']}", Public=False,
        State="pending", CreationDate=timestamp_text(now()), BlockDeviceMappings=mappings,
        SourceInstanceId=instance.id, SourceImageId=source.id, SourceImageRegion=source.region,
    )  # fmt: skip
    tags = tags_for(ask.get("TagSpecifications", []), "image")
    image = Image(id=image_id, account=call.account, region=call.region, view=view, tags=tags)
    return image, copies


def _mapping(held: Params, volume: dict[str, Any], snapshot_id: str, change: Params) -> Params:
    """One disk of the image: the volume's settings, with what the call changes."""
    if "VolumeInitializationRate" in change:
        raise AwsError(
            "InvalidParameterCombination",
            "VolumeInitializationRate is not supported by CreateImage.",
        )
    size = change.get("VolumeSize", volume["Size"])
    if size < volume["Size"]:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than the volume of {volume['Size']}GB",
        )
    ebs = {
        "SnapshotId": snapshot_id, "VolumeSize": size,
        "VolumeType": change.get("VolumeType", volume["VolumeType"]),
        "DeleteOnTermination": change.get(
            "DeleteOnTermination", held["Ebs"]["DeleteOnTermination"]
        ),
        "Encrypted": volume["Encrypted"],
    }  # fmt: skip
    for name in ("Iops", "Throughput"):
        value = change.get(name, volume.get(name))
        if value is not None and ebs["VolumeType"] in ("gp3", "io1", "io2"):
            ebs[name] = value
    return {"DeviceName": held["DeviceName"], "Ebs": ebs}


def _copy_disks(
    cloud: Cloud, image: Image, instance: Instance, copies: list[tuple[Snapshot, str]], *,
    reboot: bool,
) -> None:  # fmt: skip
    """Copy the disks, of a machine that is down for the moment unless it must not be."""
    with instance_lock(instance.id):
        down = reboot and cloud.machines.is_up(instance.id)
        try:
            if down:
                cloud.machines.shut_down(instance.id, timeout_s=ec2_lifecycle.POWER_OFF_S)
            for snapshot, volume_id in copies:
                cloud.disks.create_snapshot(snapshot.id, volume_id=volume_id)
                complete(cloud, snapshot)
        except (MachineError, OSError, KeyError) as error:
            _fail(cloud, image, copies, str(error))
            return
        finally:
            if down and not cloud.stopping.is_set():
                ec2_lifecycle.boot_again(cloud, instance)
    with cloud.store.lock:
        if image.view["State"] == "pending":
            image.view["State"] = "available"


def _fail(cloud: Cloud, image: Image, copies: list[tuple[Snapshot, str]], why: str) -> None:
    cloud.say(f"image {image.id} failed: {why}")
    with cloud.store.lock:
        image.view["State"] = "failed"
        image.view["StateReason"] = {"Code": "Server.InternalError", "Message": why}
        for snapshot, _ in copies:
            snapshot.view["State"] = "error"
            snapshot.view["StateMessage"] = why


@handles("ec2", "CopyImage")
def copy_image(call: Call) -> Params:
    ask = call.params
    source = images(call.cloud).get(ask["SourceImageId"])
    ensure_base_images(call.cloud, ask["SourceRegion"])
    source = images(call.cloud).get(ask["SourceImageId"])
    usable = source is not None and source.region == ask["SourceRegion"] and may_use(call, source)
    if source is None or not usable or source.deregistered:
        raise AwsError(
            "InvalidAMIID.NotFound", f"The image id '[{ask['SourceImageId']}]' does not exist"
        )
    if source.view["State"] != "available":
        raise AwsError(
            "InvalidAMIID.Unavailable", f"The image ID '{source.id}' is {source.view['State']}"
        )
    with call.cloud.store.lock:
        for image in images(call.cloud).values():
            if ask.get("ClientToken") and image.token == ask["ClientToken"]:
                return {"ImageId": image.id}
        check_name(call, ask["Name"])
        refuse_dry_run(call)
        return {"ImageId": _copy(call, source).id}


def _copy(call: Call, source: Image) -> Image:
    ask, image_id = call.params, new_id("ami")
    specifications = ask.get("TagSpecifications", [])
    view = copy.deepcopy(source.view)
    for name in ("ImageOwnerAlias", "PublicSsmParameterName", "DeprecationTime",
                 "SourceInstanceId", "DeregistrationProtection"):  # fmt: skip
        view.pop(name, None)
    for mapping in view["BlockDeviceMappings"]:
        made = copy_of(
            call, snapshots(call.cloud)[mapping["Ebs"]["SnapshotId"]],
            f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}",
            encrypted=ask.get("Encrypted", False), key=ask.get("KmsKeyId"),
            tags=tags_for(specifications, "snapshot"),
        )  # fmt: skip
        mapping["Ebs"].update(SnapshotId=made.id, Encrypted=made.view["Encrypted"])
    view.update(
        ImageId=image_id, Name=ask["Name"], OwnerId=call.account, Public=False,
        Description=ask.get("Description", source.view["Description"]), State="available",
        ImageLocation=f"{call.account}/{ask['Name']}", CreationDate=timestamp_text(now()),
        SourceImageId=source.id, SourceImageRegion=source.region,
    )  # fmt: skip
    tags = tags_for(specifications, "image")
    if ask.get("CopyImageTags"):
        tags = source.tags | tags
    image = Image(
        id=image_id, account=call.account, region=call.region, view=view, tags=tags,
        token=ask.get("ClientToken"),
    )  # fmt: skip
    images(call.cloud)[image_id] = image
    return image


@handles("ec2", "DescribeImages")
def describe_images(call: Call) -> Params:
    ensure_base_images(call.cloud, call.region)
    ask = call.params
    seen = [
        one
        for one in images(call.cloud).values()
        if one.region == call.region and not one.deregistered and may_use(call, one)
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
        if not one.startswith("ami-"):
            raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{one}" (expecting "ami-...")')
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
    shown = image.shown()
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
        wanted = [mapping["Ebs"]["SnapshotId"] for mapping in image.view["BlockDeviceMappings"]]
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


@handles("ec2", "RegisterImage", "ImportImage", "ExportImage", "CreateRestoreImageTask")
def refuse_other_ways(call: Call) -> Params:
    raise not_modelled(
        f"ec2:{call.action} (images come from machines, by CreateImage, or by CopyImage)"
    )


#: A deprecation date at most ten years ahead, as EC2 allows.
LATEST_DEPRECATION = timedelta(days=3653)
