"""EBS snapshots: copies of disks, by themselves or behind an image."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_base_images import ensure_base_disk, ensure_base_images
from local_cloud.services.ec2_disks import drop_snapshot, find_readable_snapshot
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_model import (
    Snapshot,
    Volume,
    get_snapshot,
    get_volume,
    hide_if_ordered,
    images,
    new_id,
    now,
    refuse_dry_run,
    snapshots,
    tags_for,
)
from local_cloud.services.ec2_pending import finish_later, progress
from local_cloud.services.kms import encryption

FIELDS = {
    "snapshot-id": "SnapshotId", "volume-id": "VolumeId", "status": "State",
    "volume-size": "VolumeSize", "owner-id": "OwnerId", "owner-alias": "OwnerAlias",
    "description": "Description", "encrypted": "Encrypted", "start-time": "StartTime",
    "progress": "Progress", "storage-tier": "StorageTier",
}  # fmt: skip


def record_snapshot(
    *, account: str, region: str, volume: Volume, description: str, tags: dict[str, str]
) -> Snapshot:
    """A pending snapshot of the volume, whose bytes are still to be copied."""
    snapshot_id = new_id("snap")
    view = {
        "SnapshotId": snapshot_id, "VolumeId": volume.id, "State": "pending",
        "StartTime": now(), "Progress": "0%", "OwnerId": account, "Description": description,
        "VolumeSize": volume.view["Size"], "Encrypted": volume.view["Encrypted"],
        "StorageTier": "standard",
    }  # fmt: skip
    if volume.view.get("KmsKeyId"):
        view["KmsKeyId"] = volume.view["KmsKeyId"]
    return Snapshot(id=snapshot_id, account=account, region=region, view=view, tags=tags)


def image_using(cloud: Cloud, snapshot_id: str) -> str | None:
    """An image that still needs the snapshot."""
    for image in list(images(cloud).values()):
        if image.deregistered:
            continue
        for mapping in image.view["BlockDeviceMappings"]:
            if mapping.get("Ebs", {}).get("SnapshotId") == snapshot_id:
                return image.id
    return None


@handles("ec2", "CreateSnapshot")
def create_snapshot(call: Call) -> Params:
    volume = get_volume(call, call.params["VolumeId"])
    refuse_dry_run(call)
    snapshot = record_snapshot(
        account=call.account, region=call.region, volume=volume,
        description=call.params.get("Description", ""),
        tags=tags_for(call.params.get("TagSpecifications", []), "snapshot"),
    )  # fmt: skip
    answer = snapshot.shown()
    call.cloud.disks.create_snapshot(snapshot.id, volume_id=volume.id)
    snapshots(call.cloud)[snapshot.id] = snapshot
    hide_if_ordered(call, snapshot)
    finish_later(call.cloud, snapshot, "snapshot_pending")
    return answer


@handles("ec2", "CopySnapshot")
def copy_snapshot(call: Call) -> Params:
    ask = call.params
    source = snapshots(call.cloud).get(ask["SourceSnapshotId"])
    if source is None or source.region != ask["SourceRegion"]:
        raise AwsError(
            "InvalidSnapshot.NotFound", f"The snapshot '{ask['SourceSnapshotId']}' does not exist."
        )
    if source.view["State"] != "completed":
        raise AwsError("IncorrectState", f"Snapshot is in invalid state - {source.view['State']}")
    refuse_dry_run(call)
    made = copy_of(
        call, source, ask.get("Description", ""),
        encrypted=ask.get("Encrypted", False), key=ask.get("KmsKeyId"),
        tags=tags_for(ask.get("TagSpecifications", []), "snapshot"),
    )  # fmt: skip
    return {"SnapshotId": made.id, "Tags": made.shown()["Tags"]}


def copy_of(
    call: Call, source: Snapshot, description: str, *, encrypted: bool, key: str | None,
    tags: dict[str, str],
) -> Snapshot:  # fmt: skip
    """A copy in the call's region and account, its bytes shared until they change; pending when
    the latency profile says so.
    """
    snapshot_id = new_id("snap")
    view = source.view | {
        "SnapshotId": snapshot_id, "VolumeId": "vol-ffffffff", "OwnerId": call.account,
        "Description": description, "StartTime": now(), "State": "pending", "Progress": "0%",
    }  # fmt: skip
    for name in ("OwnerAlias", "CompletionTime", "KmsKeyId"):
        view.pop(name, None)
    view |= encryption(call, {"Encrypted": encrypted or source.view["Encrypted"], "KmsKeyId": key})
    made = Snapshot(id=snapshot_id, account=call.account, region=call.region, view=view, tags=tags)
    ensure_base_disk(call.cloud, source)
    call.cloud.disks.copy_snapshot(source.id, snapshot_id)
    snapshots(call.cloud)[snapshot_id] = made
    hide_if_ordered(call, made)
    finish_later(call.cloud, made, "copy_pending")
    return made


@handles("ec2", "DeleteSnapshot")
def delete_snapshot(call: Call) -> Params:
    snapshot = get_snapshot(call, call.params["SnapshotId"])
    user = image_using(call.cloud, snapshot.id)
    if user is not None:
        raise AwsError(
            "InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {user}"
        )
    refuse_dry_run(call)
    drop_snapshot(call.cloud, snapshot.id)
    return {}


@handles("ec2", "DescribeSnapshots")
def describe_snapshots(call: Call) -> Params:
    ensure_base_images(call.cloud, call.region)
    ids = call.params.get("SnapshotIds", [])
    if ids:
        found = [find_readable_snapshot(call, one) for one in ids]
    else:
        owners = [
            call.account if owner == "self" else owner for owner in call.params.get("OwnerIds", [])
        ]
        found = [
            one
            for one in list(snapshots(call.cloud).values())
            if one.region == call.region
            and (one.account == call.account or one.family or one.permissions)
            and (not owners or one.account in owners or one.view.get("OwnerAlias") in owners)
        ]
    shown = filtered(call, [_shown_to(call, one) for one in found], FIELDS, call.action)
    return page(call, shown, "Snapshots")


def _shown_to(call: Call, snapshot: Snapshot) -> Params:
    shown = snapshot.looked_at(call)
    if shown["State"] == "pending":
        shown["Progress"] = progress(call.cloud, snapshot)
    if snapshot.account != call.account:
        shown["Tags"] = []
    return shown


@handles("ec2", "DescribeSnapshotAttribute")
def describe_snapshot_attribute(call: Call) -> Params:
    snapshot = get_snapshot(call, call.params["SnapshotId"])
    if call.params["Attribute"] == "productCodes":
        return {"SnapshotId": snapshot.id, "ProductCodes": []}
    return {"SnapshotId": snapshot.id, "CreateVolumePermissions": snapshot.permissions}


@handles("ec2", "ModifySnapshotAttribute")
def modify_snapshot_attribute(call: Call) -> Params:
    snapshot = get_snapshot(call, call.params["SnapshotId"])
    refuse_dry_run(call)
    snapshot.permissions = changed_permissions(
        snapshot.permissions, call.params, "CreateVolumePermission"
    )
    return {}


def changed_permissions(held: list[dict[str, str]], ask: Params, name: str) -> list[dict[str, str]]:
    """Permissions after a call that adds or removes some, in either of its two forms."""
    change = ask.get(name, {})
    add, remove = list(change.get("Add", [])), list(change.get("Remove", []))
    listed = [{"UserId": one} for one in ask.get("UserIds", [])]
    listed += [{"Group": one} for one in ask.get("UserGroups") or ask.get("GroupNames") or []]
    if listed:
        (add if ask.get("OperationType") == "add" else remove).extend(listed)
    for one in add + remove:
        if set(one) - {"UserId", "Group"}:
            raise not_modelled("sharing with organizations")
        if not one.get("Group", "all") == "all" or not one.get("UserId", "0" * 12).isdigit():
            raise AwsError(
                "InvalidAMIAttributeItemValue", f"Invalid attribute item value {one} for sharing"
            )
    kept = [one for one in held if one not in remove]
    return kept + [one for one in add if one not in kept]
