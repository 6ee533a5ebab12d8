"""Finds out what refers to an AMI: machines, compute environments, templates, parameters, …"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ami_provider.aws import Aws
from ami_provider.environments import find_environments
from ami_provider.errors import bake_error, is_aws_error, is_not_found
from ami_provider.image_state import Image, list_images
from ami_provider.site import Lineage
from ami_provider.templates import find_template_use

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef, ResourceTypeRequestTypeDef

ALIVE = ["pending", "running", "shutting-down", "stopping", "stopped"]
"""Every state of a machine but `terminated`."""
MACHINES = "ec2:Instance"
TEMPLATES = "ec2:LaunchTemplate"
ALL_VERSIONS = "10000"
"""The most launch template versions that EC2 looks through; by itself it does the last 10."""


@dataclass(frozen=True)
class User:
    """Something that refers to an AMI, in words. `is_ending`: a machine that is shutting down."""

    text: str
    is_ending: bool = False


def find_users(aws: Aws, image: Image, lineage: Lineage, held: Collection[str]) -> list[User]:
    """Everything that refers to the AMI, but for what does not need it any more.

    An old version of a launch template that moved on with the lineage, and that no compute
    environment names, is such a thing: `held` has the IDs of the lineage's AMIs.
    """
    users = find_machines(aws, image.id)
    users += [User(text) for text in find_environments(aws, image.id)]
    for kind, arn in _list_references(aws, image.id):
        if kind == TEMPLATES:
            template = arn.rpartition("/")[2]
            use = find_template_use(aws, template, image.id, lineage, held)
            users += [User(use)] if use else []
        elif kind != MACHINES:
            users.append(User(f"{kind} {arn}"))
    return users + _find_siblings(aws, image)


def find_machines(aws: Aws, image_id: str) -> list[User]:
    """Machines of the AMI in any state but `terminated`."""
    filters: list[FilterTypeDef] = [
        {"Name": "image-id", "Values": [image_id]},
        {"Name": "instance-state-name", "Values": ALIVE},
    ]
    try:
        pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)
        found = [m for page in pages for r in page["Reservations"] for m in r["Instances"]]
    except Exception as error:
        raise _failed(error, image_id, "ec2:DescribeInstances") from error
    states = [(m["InstanceId"], m["State"]["Name"]) for m in found]
    return [User(f"machine {i} ({state})", state == "shutting-down") for i, state in states]


def _list_references(aws: Aws, image_id: str) -> list[tuple[str, str]]:
    """Type and ARN of all that EC2 knows to refer to the AMI, whatever types there will be."""
    versions: ResourceTypeRequestTypeDef = {
        "ResourceType": "ec2:LaunchTemplate",
        "ResourceTypeOptions": [{"OptionName": "version-depth", "OptionValues": [ALL_VERSIONS]}],
    }
    try:
        pages = aws.ec2.get_paginator("describe_image_references").paginate(
            ImageIds=[image_id], IncludeAllResourceTypes=True, ResourceTypes=[versions]
        )
        found = [one for page in pages for one in page["ImageReferences"]]
    except Exception as error:
        if is_not_found(error):
            return []
        raise _failed(
            error,
            image_id,
            "ec2:DescribeImageReferences",
            "The managed policy AmazonEC2ImageReferencesAccessPolicy has all it needs.",
        ) from error
    return sorted({(str(one.get("ResourceType")), str(one.get("Arn"))) for one in found})


def _find_siblings(aws: Aws, image: Image) -> list[User]:
    """Other AMIs that were registered on this one's snapshots, which then cannot be deleted."""
    if not image.snapshot_ids:
        return []
    name = "block-device-mapping.snapshot-id"
    found = list_images(aws, {"Name": name, "Values": list(image.snapshot_ids)})
    return [User(f"{i.id}, an AMI on the same snapshot") for i in found if i.id != image.id]


def _failed(error: Exception, image_id: str, action: str, way_out: str = "") -> Exception:
    if not is_aws_error(error):
        return error
    return bake_error(error, f"could not find out who uses {image_id}", action, way_out)
