"""What earlier bakes of the same resource left when their client was killed and never came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.copies import delete_copy, find_copies
from ami_provider.errors import bake_error, is_aws_error
from ami_provider.image_removal import delete_image
from ami_provider.image_state import list_images
from ami_provider.site import Lineage
from ami_provider.uses import find_machines

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef


def remove_abandoned(aws: Aws, lineage: Lineage, *, but: str = "") -> list[str]:
    """End machines and delete AMIs that bakes of this resource began and that nobody owns.

    `but` is the fingerprint whose bake goes on. A machine that was kept for a look stays, and so
    does an AMI that a machine runs from. Copies go with their AMI. Gives the IDs of what went.
    Raises `BakeError`.
    """
    went = []
    filters: list[FilterTypeDef] = [
        {"Name": f"tag:{tags.LINEAGE}", "Values": [tags.get_path(lineage)]},
        {"Name": f"tag:{tags.ROLE}", "Values": ["builder", "verifier"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    try:
        pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)
        for machine in (m for page in pages for r in page["Reservations"] for m in r["Instances"]):
            noted = tags.to_mapping(machine.get("Tags"))
            if noted.get(tags.FINGERPRINT) != but and tags.KEPT not in noted:
                aws.ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
                went.append(machine["InstanceId"])
    except Exception as error:
        if not is_aws_error(error):
            raise
        action = "ec2:DescribeInstances, ec2:TerminateInstances"
        raise bake_error(error, "could not end what an earlier bake left", action) from error
    for image in list_images(aws, filters[0]):
        theirs = image.tags.get(tags.FINGERPRINT) == but or tags.find_owners(image.tags)
        if not theirs and not find_machines(aws, image.id):
            for region, copy in find_copies(aws, image):  # First: they bear its name.
                delete_copy(aws.at(region), copy, lineage)
            delete_image(aws, image)
            went.append(image.id)
    return went
