"""Whether a launch template that mentions an AMI still needs it: EC2 counts old versions too."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.errors import bake_error, get_code, is_aws_error, is_not_found
from ami_provider.image_state import Image, list_images
from ami_provider.site import Lineage

CURRENT = ("$Default", "$Latest")
BATCHES_OWN = re.compile(r"Batch-lt-[0-9a-f]{8}-[0-9a-f-]{27}(-rev-\d+)?")
"""Copies that Batch makes of an environment's template, one for each of its revisions."""


def find_template_use(
    aws: Aws, template_id: str, image_id: str, lineage: Lineage, held: Collection[str]
) -> str | None:
    """How the template needs the AMI, in words; None where only its history mentions it.

    A version that is neither the default nor the latest is history where the template has moved
    on along the lineage: its default and its latest version have other AMIs of the same resource.
    Everywhere else any version counts, since nobody can tell who names it; but for Batch's own
    copies, which may outlive a roll-out: what Batch launches from, its environments say.
    """
    listed = _list_versions(aws, template_id, image_id)
    if listed is None:
        return None
    name, current, versions = listed
    if BATCHES_OWN.fullmatch(name):
        return None
    if image_id in current.values():
        which = " and ".join(
            v.removeprefix("$").lower() for v, i in current.items() if i == image_id
        )
        return f"launch template {name} ({template_id}), {which} version"
    if current and _are_of_lineage(aws, set(current.values()), lineage, held):
        return None
    numbers = " ".join(versions)
    delete = (
        f"aws ec2 delete-launch-template-versions --region {aws.region} "
        f"--launch-template-id {template_id} --versions {numbers}"
    )
    old = f"old version{'s' * (len(versions) > 1)} {', '.join(versions)}"
    return f"launch template {name} ({template_id}), {old} (if nobody needs it: {delete})"


def _list_versions(
    aws: Aws, template_id: str, image_id: str
) -> tuple[str, dict[str, str], list[str]] | None:
    """Name, AMIs of the current versions, and the numbers of those with this AMI, if it exists."""
    try:
        found = aws.ec2.describe_launch_template_versions(
            LaunchTemplateId=template_id, Versions=list(CURRENT), ResolveAlias=True
        )["LaunchTemplateVersions"]
        pages = aws.ec2.get_paginator("describe_launch_template_versions").paginate(
            LaunchTemplateId=template_id, Filters=[{"Name": "image-id", "Values": [image_id]}]
        )
        numbers = [
            str(v["VersionNumber"]) for page in pages for v in page["LaunchTemplateVersions"]
        ]
    except Exception as error:
        if is_gone(error):
            return None
        if not is_aws_error(error):
            raise
        action = "ec2:DescribeLaunchTemplateVersions"
        raise bake_error(error, f"could not look at {template_id}", action) from error
    newest = max(found, key=lambda v: v["VersionNumber"])
    default = next((v for v in found if v.get("DefaultVersion")), newest)
    versions = zip(CURRENT, (default, newest), strict=True)
    current = {which: v["LaunchTemplateData"].get("ImageId", "") for which, v in versions}
    return str(newest.get("LaunchTemplateName", "")), current, numbers


def _are_of_lineage(aws: Aws, image_ids: set[str], lineage: Lineage, held: Collection[str]) -> bool:
    """Whether each is an AMI of this resource, or a copy of one."""
    found = list_images(aws, {"Name": "image-id", "Values": sorted(image_ids)})
    ours = {i.id for i in found if _is_of_lineage(i, lineage, held)}
    return image_ids == ours


def _is_of_lineage(image: Image, lineage: Lineage, held: Collection[str]) -> bool:
    source = image.tags.get(tags.SOURCE, "").rpartition("/")[2]
    return (
        image.id in held
        or source in held
        or tags.get_owner_key(lineage) in image.tags
        or image.tags.get(tags.LINEAGE) == tags.get_path(lineage)
    )


def find_image_of(aws: Aws, template: Mapping[str, Any]) -> str | None:
    """The AMI of the template version that a compute environment names."""
    which = {
        key: template[name]
        for key, name in (
            ("LaunchTemplateId", "launchTemplateId"),
            ("LaunchTemplateName", "launchTemplateName"),
        )
        if template.get(name)
    }
    version = str(template.get("version") or "$Default")
    try:
        found = aws.ec2.describe_launch_template_versions(
            **which, Versions=[version], ResolveAlias=True
        )
        return found["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("ImageId")
    except Exception as error:
        if is_gone(error):
            return None
        raise


def is_gone(error: BaseException) -> bool:
    """Whether the template or the version is not there (any more)."""
    return is_not_found(error) or get_code(error).startswith("InvalidLaunchTemplate")
