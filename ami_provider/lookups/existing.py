"""An AMI of this account that has the wanted content already."""

from __future__ import annotations

from typing import Any

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.fingerprint import content_fingerprint, fingerprint
from ami_provider.lookups.asking import fault_of
from ami_provider.resolved import ResolvedRecipe

CONTENT = tags.PREFIX + "content"
"""Tag of an AMI: its `content_fingerprint`, which a newer base AMI leaves as it is."""
BASE = tags.PREFIX + "base"
"""Tag of an AMI: the base AMI it was baked from."""


def get_content_tags(recipe: ResolvedRecipe) -> dict[str, str]:
    """The tags by which `find_twin_base` finds an AMI again."""
    content = content_fingerprint(recipe.manifest(), recipe.base.source)
    return {CONTENT: content, BASE: recipe.base.ami_id}


def find_twin_base(recipe: ResolvedRecipe, aws: Aws) -> str | None:
    """The base AMI of the newest usable AMI that differs from this recipe in its base at most."""
    found = _find_verified({CONTENT: get_content_tags(recipe)[CONTENT]}, aws)
    return tags.to_mapping(found[-1].get("Tags")).get(BASE) if found else None


def find_baked(recipe: ResolvedRecipe, aws: Aws) -> dict[str, Any] | None:
    """`ami_id`, `ami_name`, `snapshot_ids` of an available, verified AMI of this fingerprint.

    A forecast only: the bake looks again. Raises `FaultsError` where looking is not allowed.
    """
    found = _find_verified({tags.FINGERPRINT: fingerprint(recipe.manifest())}, aws)
    if not found:
        return None
    image = found[-1]
    return {
        "ami_id": str(image["ImageId"]),
        "ami_name": str(image.get("Name", "")),
        "snapshot_ids": get_snapshot_ids(image),
    }


def find_shared(wanted: str, owners: tuple[str, ...], aws: Aws) -> dict[str, Any] | None:
    """`ami_id`, `ami_name`, `owner_id` of the newest AMI of this fingerprint that one of these
    accounts shares with this one.

    Another account's tags cannot be seen: its name tells the fingerprint, and that it is shared
    tells that its owner's program has verified it. Raises `FaultsError`.
    """
    if not owners:
        return None
    filters: Any = [
        {"Name": "name", "Values": [tags.get_ami_name("*", wanted)]},
        {"Name": "state", "Values": ["available"]},
    ]
    try:
        pages = aws.ec2.get_paginator("describe_images").paginate(
            Owners=list(owners), Filters=filters, IncludeDeprecated=True
        )
        found: list[Any] = [image for page in pages for image in page["Images"]]
    except Exception as error:
        raise fault_of(error, "trusted_owners", "ec2:DescribeImages", on="") from None
    if not found:
        return None
    image = max(found, key=lambda one: str(one["CreationDate"]))
    named = str(image["Name"])
    return {"ami_id": str(image["ImageId"]), "ami_name": named, "owner_id": str(image["OwnerId"])}


def get_snapshot_ids(image: Any) -> list[str]:
    """The snapshots behind an AMI as EC2 describes it."""
    disks = (m.get("Ebs", {}).get("SnapshotId") for m in image.get("BlockDeviceMappings", []))
    return [str(disk) for disk in disks if disk]


def _find_verified(tagged: dict[str, str], aws: Aws) -> list[Any]:
    """The account's available, verified AMIs with these tags, the newest last."""
    filters = [
        *({"Name": f"tag:{key}", "Values": [value]} for key, value in tagged.items()),
        {"Name": f"tag:{tags.VERIFIED}", "Values": [tags.VERIFIED_YES, tags.VERIFIED_OFF]},
        {"Name": "state", "Values": ["available"]},
    ]
    try:
        images = aws.client("ec2").describe_images(Owners=["self"], Filters=filters)["Images"]
    except Exception as error:
        raise fault_of(error, "site.region", "ec2:DescribeImages", on="") from None
    return sorted(images, key=lambda i: (str(i.get("CreationDate", "")), str(i["ImageId"])))
