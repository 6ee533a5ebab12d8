"""AMIs and their snapshots: found by fingerprint or name, made, waited for, owned, deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.errors import (
    BakeError,
    bake_error,
    is_aws_error,
    is_duplicate_name,
    is_in_use,
    is_not_found,
    is_transient,
)
from ami_provider.job import Job

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import ImageTypeDef

APPEAR_S = 60.0
"""How long an AMI that was just made may stay unseen by DescribeImages."""


@dataclass(frozen=True)
class Image:
    """An AMI of ours as EC2 describes it at one moment."""

    id: str
    name: str
    state: str
    snapshot_ids: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def verified(self) -> str:
        """`yes`, `off`, or empty for one that nobody has checked yet."""
        return self.tags.get(tags.VERIFIED, "")


def find_image(job: Job) -> Image | None:
    """The account's own AMI with this fingerprint: available ones first, then those being made."""
    by_tag = _describe(job, f"tag:{tags.FINGERPRINT}", job.fingerprint)
    by_name = _describe(job, "name", job.ami_name)
    usable = [i for i in {i.id: i for i in by_tag + by_name}.values() if _is_usable(job, i)]
    usable.sort(key=lambda i: (i.state != "available", i.verified != tags.VERIFIED_YES, i.id))
    return usable[0] if usable else None


def _is_usable(job: Job, image: Image) -> bool:
    """Not failed or going, and ours: a name alone may be somebody else's."""
    known = image.tags.get(tags.FINGERPRINT) == job.fingerprint
    return known and image.state in ("available", "pending")


def create_image(job: Job, machine_id: str) -> Image:
    """CreateImage of the quiet machine; if the name is taken, the AMI of the one who took it."""
    listed = tags.to_list(job.get_tags("image"))
    try:
        made = job.aws.ec2.create_image(
            InstanceId=machine_id,
            Name=job.ami_name,
            Description=f"{tags.get_path(job.lineage)} {job.fingerprint[:16]}"[:255],
            NoReboot=True,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": listed},
                {"ResourceType": "snapshot", "Tags": listed},
            ],
        )
        return Image(made["ImageId"], job.ami_name, "pending")
    except Exception as error:
        if is_duplicate_name(error):
            return _follow(job)
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not image {machine_id}", "ec2:CreateImage") from error


def _follow(job: Job) -> Image:
    """The AMI that has our name already: another client's, or ours whose answer was lost."""
    try:
        return waiting.wait_until(lambda: find_image(job), timeout_s=APPEAR_S)
    except waiting.WaitTimeoutError:
        taken = _describe(job, "name", job.ami_name)
        who = ", ".join(f"{i.id} ({i.state})" for i in taken) or "an AMI that cannot be seen"
        raise BakeError(
            f"the AMI name {job.ami_name} is taken",
            f"{who} has it, without this image's fingerprint in its tags.",
            f"Deregister it: aws ec2 deregister-image --delete-associated-snapshots --region "
            f"{job.site.region} --image-id {taken[0].id if taken else 'AMI'}",
        ) from None


def wait_until_available(job: Job, image: Image) -> Image:
    """Wait for the snapshot to complete; raises `BakeError` when it fails, or after the time-out.

    After a time-out the AMI is left to complete: the next run finds it and goes on.
    """
    seen = False

    def look() -> Image | None:
        nonlocal seen
        found = get_state(job.aws, image.id)
        if found is None:
            return Image(image.id, image.name, "gone") if seen else None
        seen = True
        return found if found.state != "pending" else None

    try:
        found = waiting.wait_until(look, timeout_s=job.site.timeouts.image * 60)
    except waiting.WaitTimeoutError:
        raise ImagePendingError(
            f"the AMI {image.id} is not available after {job.site.timeouts.image} min",
            "Its snapshot is still being written; big volumes can take hours.",
            "Run `pulumi up` again later: it finds this AMI and goes on. Or raise timeouts.image.",
        ) from None
    if found.state != "available":
        raise BakeError(
            f"the AMI {image.id} is {found.state}",
            found.reason or "EC2 gives no reason.",
            "Run `pulumi up` again; if it fails once more, look at the volume and the KMS key.",
        )
    return found


class ImagePendingError(BakeError):
    """The AMI still is being made: nothing is wrong with it, so it is not removed."""


ImagePendingError.__module__ = "builtins"


def get_state(aws: Aws, image_id: str) -> Image | None:
    """The AMI as it is now; None if EC2 does not know it, or not yet."""
    try:
        found = aws.ec2.describe_images(ImageIds=[image_id])["Images"]
    except Exception as error:
        if is_not_found(error):
            return None
        if is_transient(error):
            return Image(image_id, "", "pending")
        raise bake_error(error, f"could not look at {image_id}", "ec2:DescribeImages") from error
    return _image(found[0]) if found else None


def set_tags(aws: Aws, ids: tuple[str, ...], new: dict[str, str]) -> None:
    """Write tags onto an AMI and its snapshots; old values of the same keys go."""
    try:
        aws.ec2.create_tags(Resources=list(ids), Tags=tags.to_list(new))
    except Exception as error:
        raise bake_error(error, f"could not tag {ids[0]}", "ec2:CreateTags") from error


def remove_tag(aws: Aws, image_id: str, key: str) -> None:
    """Take one tag off an AMI; nothing happens if either is gone."""
    try:
        aws.ec2.delete_tags(Resources=[image_id], Tags=[{"Key": key}])
    except Exception as error:
        if not is_not_found(error):
            raise bake_error(error, f"could not untag {image_id}", "ec2:DeleteTags") from error


def delete_image(aws: Aws, image: Image) -> None:
    """Deregister the AMI, then delete every snapshot of it. May be repeated.

    Snapshots of an AMI that is still being made are found by its tags, which they share.
    """
    snapshots = set(image.snapshot_ids)
    found = get_state(aws, image.id)
    if found is not None:
        snapshots.update(found.snapshot_ids)
        _repeat(
            lambda: aws.ec2.deregister_image(ImageId=image.id),
            f"could not deregister {image.id}",
            "ec2:DeregisterImage",
        )
    for snapshot in sorted(snapshots):
        _repeat(
            partial(aws.ec2.delete_snapshot, SnapshotId=snapshot),
            f"could not delete {snapshot}, a snapshot of {image.id}",
            "ec2:DeleteSnapshot",
        )


def _repeat(act: Callable[[], object], brief: str, action: str) -> None:
    """Do a removal until it is done, through throttling, faults and "in use" for a moment."""

    def attempt() -> bool | None:
        try:
            act()
        except Exception as error:
            if is_not_found(error):
                return True
            if is_transient(error) or is_in_use(error):
                return None
            if not is_aws_error(error):
                raise
            raise bake_error(error, brief, action) from error
        return True

    try:
        waiting.wait_until(attempt, timeout_s=180, first_s=1.0)
    except waiting.WaitTimeoutError:
        raise BakeError(brief, f"{action} kept failing for three minutes.", "Try again.") from None


def _describe(job: Job, name: str, value: str) -> list[Image]:
    try:
        pages = job.aws.ec2.get_paginator("describe_images").paginate(
            Owners=["self"], Filters=[{"Name": name, "Values": [value]}]
        )
        return [_image(found) for page in pages for found in page["Images"]]
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look for the AMI", "ec2:DescribeImages") from error


def _image(found: ImageTypeDef) -> Image:
    disks = (d.get("Ebs", {}).get("SnapshotId") for d in found.get("BlockDeviceMappings", ()))
    return Image(
        found["ImageId"],
        found.get("Name", ""),
        found.get("State", "pending"),
        tuple(d for d in disks if d),
        tags.to_mapping(found.get("Tags")),
        found.get("StateReason", {}).get("Message", ""),
    )
