"""Copies of an AMI in other regions: found by their tags, made, waited for, deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.errors import BakeError, bake_error, is_aws_error, is_duplicate_name
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image, list_images
from ami_provider.images import APPEAR_S, ImagePendingError, look_at_image
from ami_provider.site import Lineage
from ami_provider.uses import find_users
from ami_provider.wishes import read_all

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef

KEY = tags.PREFIX + "key"
"""Tag of a copy: the KMS key that was asked for it, or empty."""


def get_reference(aws: Aws, image_id: str) -> str:
    """What an AMI is called in the tags of its copies."""
    return f"{aws.region}/{image_id}"


def find_copies(aws: Aws, image: Image, regions: Iterable[str] = ()) -> list[tuple[str, Image]]:
    """Region and copy, for every copy in any state and the snapshots of one that is gone.

    The AMI's tags tell the regions; `regions` adds some, for an AMI that is gone with its tags.
    """
    asked = read_all(image.tags).regions | set(regions)
    found = [(region, find_copy(aws.at(region), get_reference(aws, image.id), image.id))
             for region in sorted(asked)]  # fmt: skip
    return [(region, copy) for region, copy in found if copy]


def find_copy(there: Aws, reference: str, image_id: str) -> Image | None:
    """The copy in one region; with the state `gone`, the snapshots that one left behind."""
    named: FilterTypeDef = {"Name": f"tag:{tags.SOURCE}", "Values": [reference]}
    images = list_images(there, named)
    if images:
        return images[0]
    try:
        snapshots = there.ec2.describe_snapshots(OwnerIds=["self"], Filters=[named])["Snapshots"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        brief = f"could not look for copies in {there.region}"
        raise bake_error(error, brief, "ec2:DescribeSnapshots") from error
    left = tuple(snapshot["SnapshotId"] for snapshot in snapshots)
    return Image(image_id, "", "gone", left) if left else None


def start_copy(
    aws: Aws,
    image: Image,
    region: str,
    *,
    key: str | None,
    user_tags: Mapping[str, str],
    lineage: Lineage,
    shared: bool,
) -> Image:
    """The copy in the region: the one that is there or on its way, or else a new one.

    One that failed, is gone but for its snapshots, or has another key, is deleted first; with
    another key it is refused where the copy is `shared` with another owner.
    """
    there, reference = aws.at(region), get_reference(aws, image.id)
    found = find_copy(there, reference, image.id)
    if found and found.state not in ("failed", "gone") and found.tags.get(KEY) != (key or ""):
        if shared:
            raise BakeError(
                f"the copy {found.id} in {region} has another encryption key",
                f"Another stack copies this AMI with {found.tags.get(KEY) or 'no key'}, this one "
                f"asks for {key or 'no key'}.",
                "Give the same key in both stacks' publication.",
            )
        delete_copy(there, found, lineage)
        found = None
    if found and found.state in ("failed", "gone"):
        delete_copy(there, found, lineage)
        found = None
    if found:
        return found
    named = {
        "Name": image.name,
        **user_tags,
        tags.ROLE: "copy",
        tags.SOURCE: reference,
        KEY: key or "",
    }
    encryption: Any = {"Encrypted": True, "KmsKeyId": key} if key else {}
    try:
        made = there.ec2.copy_image(
            SourceRegion=aws.region,
            SourceImageId=image.id,
            Name=image.name,
            Description=f"Copy of {reference}",
            TagSpecifications=[
                {"ResourceType": "image", "Tags": tags.to_list(named)},
                {"ResourceType": "snapshot", "Tags": tags.to_list(named)},
            ],
            **encryption,
        )
    except Exception as error:
        if is_duplicate_name(error):
            return _follow(there, reference, image)
        if not is_aws_error(error):
            raise
        brief = f"could not copy {image.id} to {region}"
        raise bake_error(error, brief, "ec2:CopyImage") from error
    return Image(made["ImageId"], image.name, "pending", tags=named)


def _follow(there: Aws, reference: str, image: Image) -> Image:
    """The copy that has our name already: another run's, or ours whose answer was lost."""
    try:
        return waiting.wait_until(lambda: find_copy(there, reference, image.id), timeout_s=APPEAR_S)
    except waiting.WaitTimeoutError:
        raise BakeError(
            f"the AMI name {image.name} is taken in {there.region}",
            f"Another AMI there has it, which is no copy of {image.id}.",
            f"Find it: aws ec2 describe-images --region {there.region} --owners self --filters "
            f"Name=name,Values={image.name}; then deregister it and run `pulumi up` again.",
        ) from None


def wait_until_copied(there: Aws, copy: Image, *, timeout_s: float) -> Image:
    """Wait for the copy's snapshots; raises `BakeError` when it fails or the time is over.

    A copy that fails is deleted. One that is late goes on by itself and is found by the next run.
    """

    def look() -> Image | None:
        found = look_at_image(there, copy.id)
        return found if found and found.state != "pending" else None

    try:
        found = waiting.wait_until(look, timeout_s=timeout_s)
    except waiting.WaitTimeoutError as error:
        copying = "Its snapshots are still being copied."
        raise ImagePendingError(
            f"the copy {copy.id} in {there.region} is not available after {timeout_s / 60:.0f} min",
            f"It could not be looked at: {error.cause}" if error.cause else copying,
            "Run `pulumi up` again later: it finds this copy and goes on. Or raise timeouts.image.",
        ) from None
    if found.state in ("available", "disabled"):
        return found
    delete_image(there, found)
    raise BakeError(
        f"the copy {copy.id} in {there.region} is {found.state}",
        found.reason or "EC2 gives no reason.",
        "Look at the KMS keys (the source's must be usable for decryption, the copy's for "
        "encryption), then run `pulumi up` again.",
    )


def delete_copy(there: Aws, copy: Image, lineage: Lineage) -> None:
    """Deregister a copy and delete its snapshots; refuses while something uses it. Repeatable."""
    users = [] if copy.state == "gone" else find_users(there, copy, lineage, ())
    if users:
        raise BakeError(
            f"the copy {copy.id} in {there.region} is still in use",
            "\n".join(user.text for user in users),
            "Let those go first (end the machines, point the environments at another AMI), then "
            "run this again.",
        )
    delete_image(there, copy)
