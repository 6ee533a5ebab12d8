"""Images made: from a machine's disks, or as a copy of another image."""

from __future__ import annotations

import copy
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.machines.contract import MachineError
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_base_images import ensure_base_images
from local_cloud.services.ec2_image_register import mapping_of
from local_cloud.services.ec2_images import check_name
from local_cloud.services.ec2_launch import may_use
from local_cloud.services.ec2_model import (
    Image,
    Instance,
    Snapshot,
    get_instances,
    hide_if_ordered,
    images,
    instance_lock,
    is_mine,
    new_id,
    now,
    refuse_dry_run,
    snapshots,
    tags_for,
    timestamp_text,
    volumes,
)
from local_cloud.services.ec2_pending import fail_image, finish, set_due
from local_cloud.services.ec2_snapshots import copy_of, record_snapshot


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
        hide_if_ordered(call, image, *(snapshot for snapshot, _ in copies))
    latency = call.cloud.latency
    instant = latency.is_instant("image_pending") and latency.is_instant("snapshot_per_gib")
    job = call.cloud.background(
        f"image {image.id}",
        lambda: _copy_disks(
            call.cloud, image, instance, copies, reboot=not ask.get("NoReboot", False)
        ),
    )
    ec2_lifecycle.wait_until_settled([job if instant else None])
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
    mappings += [mapping_of(call, one) for one in changes.values() if one.get("NoDevice") is None]
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
    """Copy the disks, of a machine that is down for the moment unless it must not be.

    The image may be pending for longer than the machine is held for it.
    """
    begun, copied = cloud.latency.clock.now(), [snapshot for snapshot, _ in copies]
    with instance_lock(instance.id):
        down = reboot and cloud.machines.is_up(instance.id)
        try:
            if down:
                cloud.machines.shut_down(instance.id, timeout_s=ec2_lifecycle.POWER_OFF_S)
            for snapshot, volume_id in copies:
                cloud.disks.create_snapshot(snapshot.id, volume_id=volume_id)
            set_due(cloud, copied, "image_pending", begun=begun)
        except (MachineError, OSError, KeyError) as error:
            fail_image(cloud, image, copied, str(error))
            return
        finally:
            if down and not cloud.stopping.is_set():
                ec2_lifecycle.boot_again(cloud, instance)
    finish(cloud, copied, image)


@handles("ec2", "CopyImage")
def copy_image(call: Call) -> Params:
    ask = call.params
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
        for image in list(images(call.cloud).values()):
            if (
                ask.get("ClientToken")
                and image.token == ask["ClientToken"]
                and is_mine(call, image)
            ):
                return {"ImageId": image.id}
        check_name(call, ask["Name"])
        refuse_dry_run(call)
        image, copied = _copy(call, source)
    if all(one.view["State"] == "completed" for one in copied):
        finish(call.cloud, copied, image)
    else:
        call.cloud.background(f"image {image.id}", lambda: finish(call.cloud, copied, image))
    return {"ImageId": image.id}


def _copy(call: Call, source: Image) -> tuple[Image, list[Snapshot]]:
    """The pending image, and its snapshots with their bytes copied."""
    ask, image_id = call.params, new_id("ami")
    specifications = ask.get("TagSpecifications", [])
    view = copy.deepcopy(source.view)
    for name in ("ImageOwnerAlias", "PublicSsmParameterName", "DeprecationTime",
                 "SourceInstanceId", "DeregistrationProtection"):  # fmt: skip
        view.pop(name, None)
    copied = []
    for mapping in view["BlockDeviceMappings"]:
        if "SnapshotId" not in mapping["Ebs"]:
            continue
        made = copy_of(
            call, snapshots(call.cloud)[mapping["Ebs"]["SnapshotId"]],
            f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}",
            encrypted=ask.get("Encrypted", False), key=ask.get("KmsKeyId"),
            tags=tags_for(specifications, "snapshot"),
        )  # fmt: skip
        copied.append(made)
        mapping["Ebs"].update(SnapshotId=made.id, Encrypted=made.view["Encrypted"])
    view.update(
        ImageId=image_id, Name=ask["Name"], OwnerId=call.account, Public=False,
        Description=ask.get("Description", source.view["Description"]), State="pending",
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
    hide_if_ordered(call, image)
    return image, copied
