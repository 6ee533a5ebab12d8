"""One AMI as EC2 has it now: looked at, and written onto by its tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error, is_not_found

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef


@dataclass(frozen=True)
class Image:
    """An AMI of ours as EC2 describes it at one moment.

    `created` is EC2's time of its making, as text that sorts; `size_gib` that of all its volumes.
    """

    id: str
    name: str
    state: str
    snapshot_ids: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    is_protected: bool = False
    created: str = ""
    size_gib: int = 0

    @property
    def verified(self) -> str:
        """`yes`, `off`, or empty for one that nobody has checked yet."""
        return self.tags.get(tags.VERIFIED, "")


def get_state(aws: Aws, image_id: str) -> Image | None:
    """The AMI as it is now, disabled ones too; None only if EC2 says that it does not know it."""
    try:
        found = aws.ec2.describe_images(
            ImageIds=[image_id], IncludeDeprecated=True, IncludeDisabled=True
        )["Images"]
    except Exception as error:
        if is_not_found(error):
            return None
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not look at {image_id}", "ec2:DescribeImages") from error
    return read_image(found[0]) if found and found[0].get("State") != "deregistered" else None


def list_images(aws: Aws, *filters: FilterTypeDef) -> list[Image]:
    """The account's own AMIs in the region that pass the filters, disabled ones too."""
    try:
        pages = aws.ec2.get_paginator("describe_images").paginate(
            Owners=["self"], Filters=list(filters), IncludeDeprecated=True, IncludeDisabled=True
        )
        return [read_image(found) for page in pages for found in page["Images"]]
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look for AMIs", "ec2:DescribeImages") from error


def read_image(found: ImageTypeDef) -> Image:
    """What EC2 says of an AMI, in our words."""
    disks = [d.get("Ebs", {}) for d in found.get("BlockDeviceMappings", ())]
    return Image(
        found["ImageId"],
        found.get("Name", ""),
        found.get("State", "pending"),
        tuple(snapshot for d in disks if (snapshot := d.get("SnapshotId"))),
        tags.to_mapping(found.get("Tags")),
        found.get("StateReason", {}).get("Message", ""),
        str(found.get("DeregistrationProtection", "")).startswith("enabled"),
        found.get("CreationDate", ""),
        sum(d.get("VolumeSize", 0) for d in disks),
    )


def set_tags(aws: Aws, ids: tuple[str, ...], new: dict[str, str]) -> None:
    """Write tags onto an AMI and its snapshots; old values of the same keys go."""
    try:
        aws.ec2.create_tags(Resources=list(ids), Tags=tags.to_list(new))
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not tag {ids[0]}", "ec2:CreateTags") from error


def remove_tags(aws: Aws, image_id: str, *keys: str) -> None:
    """Take tags off an AMI; nothing happens if they or the AMI are gone."""
    try:
        aws.ec2.delete_tags(Resources=[image_id], Tags=[{"Key": key} for key in keys])
    except Exception as error:
        if is_not_found(error):
            return
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not untag {image_id}", "ec2:DeleteTags") from error
