"""What Batch checks: of a request at once, and of an environment's surroundings afterwards.

Messages that are quoted in public issues are given as they are there; for the others, whose exact
words are not public, the same facts are said in the same frame.
"""

from __future__ import annotations

import base64
import email
import re
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.batch_model import ask, refused

STRATEGIES = {
    "EC2": ("BEST_FIT", "BEST_FIT_PROGRESSIVE"),
    "SPOT": (
        "BEST_FIT",
        "BEST_FIT_PROGRESSIVE",
        "SPOT_CAPACITY_OPTIMIZED",
        "SPOT_PRICE_CAPACITY_OPTIMIZED",
    ),
}
#: Under these, and with the service-linked role, Batch changes the machines of an environment.
UPDATABLE = ("BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED")
#: Image types of ECS environments (Batch API reference, `Ec2Configuration`).
IMAGE_TYPES = ("ECS_AL2", "ECS_AL2_NVIDIA", "ECS_AL2023", "ECS_AL2023_NVIDIA")
#: What only an infrastructure update can change.
INFRASTRUCTURE = (
    "allocationStrategy",
    "bidPercentage",
    "ec2Configuration",
    "ec2KeyPair",
    "imageId",
    "instanceRole",
    "instanceTypes",
    "launchTemplate",
    "placementGroup",
    "securityGroupIds",
    "subnets",
    "tags",
    "type",
    "updateToLatestImageVersion",
)
#: How Auto Scaling, which launches Batch's machines, begins what it says of a launch template.
UNUSABLE_TEMPLATE = "CLIENT_ERROR - You must use a valid fully-formed launch template."
_SERVICE_LINKED = re.compile(r"arn:[^:]+:iam::\d{12}:role/aws-service-role/batch\.amazonaws\.com/")


class UnfitError(Exception):
    """Why an environment is INVALID, as its `statusReason` gives it."""


def is_service_linked(role: str) -> bool:
    return _SERVICE_LINKED.match(role) is not None


def is_updatable(view: Params) -> bool:
    """Whether Batch can change this environment's machines in place."""
    resources = view.get("computeResources", {})
    strategy = resources.get("allocationStrategy", "BEST_FIT")
    return is_service_linked(view["serviceRole"]) and strategy in UPDATABLE


def check_resources(call: Call, resources: Params) -> None:
    """Refuse compute resources that contradict themselves, as the request arrives."""
    kind = resources["type"]
    if kind not in STRATEGIES:
        raise not_modelled(f"compute environments on {kind}")
    for name in ("scalingPolicy", "managedInstancesProvider", "capacityTags"):
        if resources.get(name):
            raise not_modelled(f"computeResources.{name} of a compute environment")
    if (resources.get("launchTemplate") or {}).get("overrides"):
        raise not_modelled("launchTemplate.overrides of a compute environment")
    strategy = resources.get("allocationStrategy", "BEST_FIT")
    if strategy not in STRATEGIES[kind]:
        raise refused(call, f"Allocation strategy {strategy} is not supported for {kind} resources")
    _check_vcpus(call, resources)
    for name, what in (("subnets", "Subnets"), ("instanceTypes", "Instance types")):
        if not resources.get(name):
            raise refused(call, f"{what} are required")
    if not resources.get("instanceRole"):
        raise refused(call, "Instance role is required.")
    if kind == "SPOT" and strategy == "BEST_FIT" and not resources.get("spotIamFleetRole"):
        raise refused(call, "spotIamFleetRole is required for SPOT with BEST_FIT")
    bid = resources.get("bidPercentage")
    if bid is not None and not 0 <= bid <= 100:
        raise refused(call, "bidPercentage should be between 0 and 100")
    _check_types(call, resources["instanceTypes"])
    _check_configurations(call, resources)


def _check_vcpus(call: Call, resources: Params) -> None:
    least, most = resources.get("minvCpus", 0), resources["maxvCpus"]
    desired = resources.get("desiredvCpus", least)
    if least < 0 or most < 1 or least > most:
        raise refused(call, "minvCpus should not be negative or greater than maxvCpus")
    if not least <= desired <= most:
        raise refused(call, "desiredvCpus should be between minvCpus and maxvCpus")


def _check_types(call: Call, types: list[str]) -> None:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    families = {name.partition(".")[0] for name in INSTANCE_TYPES}
    for name in types:
        if name not in INSTANCE_TYPES and name not in families and name != "optimal":
            raise refused(call, f"Instance type can only be one of EC2's types, but is {name}")


def _check_configurations(call: Call, resources: Params) -> None:
    configurations = resources.get("ec2Configuration") or []
    if len(configurations) > 2:
        raise refused(call, "ec2Configuration should have at most 2 entries")
    for configuration in configurations:
        image_type = configuration["imageType"]
        if image_type not in IMAGE_TYPES:
            raise refused(call, f"Invalid imageType: {image_type}")
        own = configuration.get("imageIdOverride") or resources.get("imageId")
        if image_type in ("ECS_AL2", "ECS_AL2_NVIDIA") and not own:
            # Since 2026-06-30 Batch gives no Amazon Linux 2 image of its own to new environments.
            raise refused(call, f"imageType {image_type} needs an imageIdOverride of your own")


def check_fit(call: Call, view: Params) -> Params:
    """Look at what the environment needs; what its machines are launched with from now on.

    Raises `UnfitError` with the reason when something is not there.
    """
    resources = view.get("computeResources")
    if not resources:
        return {}
    _look(call, "ec2", "DescribeSubnets", {"SubnetIds": resources["subnets"]})
    template = _template(call, resources.get("launchTemplate"))
    data = template.get("LaunchTemplateData", {})
    groups = resources.get("securityGroupIds") or []
    if bool(groups) == bool(data.get("NetworkInterfaces")):
        raise UnfitError(
            "CLIENT_ERROR - Either compute environment Security Groups or Network Interfaces in "
            "Launch template are exclusively allowed"
        )
    if groups:
        _look(call, "ec2", "DescribeSecurityGroups", {"GroupIds": groups})
    _check_profile(call, resources["instanceRole"])
    _check_user_data(data.get("UserData"))
    images = deciding_images(resources, data.get("ImageId"))
    for image in images:
        _check_image(call, image)
    return {
        "launchTemplateId": template.get("LaunchTemplateId"),
        "launchTemplateVersion": template.get("VersionNumber"),
        "imageIds": images,
    }


def deciding_images(resources: Params, template_image: str | None) -> list[str]:
    """The AMIs that machines start from, in Batch's order (user guide, "AMI selection order").

    `imageId`, else each `imageIdOverride`, else the template's image. None of them: Batch's own.
    """
    if resources.get("imageId"):
        return [str(resources["imageId"])]
    overrides = [
        str(each["imageIdOverride"])
        for each in resources.get("ec2Configuration") or []
        if each.get("imageIdOverride")
    ]
    return overrides or ([template_image] if template_image else [])


def _look(call: Call, service: str, action: str, params: Params) -> Params:
    try:
        return ask(call, service, action, params)
    except AwsError as error:
        raise UnfitError(f"CLIENT_ERROR - {error.message}") from error


def _template(call: Call, named: Params | None) -> Params:
    if not named:
        return {}
    by = {
        "LaunchTemplateId": named.get("launchTemplateId"),
        "LaunchTemplateName": named.get("launchTemplateName"),
    }
    params: dict[str, Any] = {name: value for name, value in by.items() if value}
    params["Versions"] = [named.get("version") or "$Default"]
    versions: list[Params] = _look(call, "ec2", "DescribeLaunchTemplateVersions", params)[
        "LaunchTemplateVersions"
    ]
    if not versions:
        raise UnfitError(
            f"CLIENT_ERROR - Could not find the specified version {params['Versions'][0]} for the"
            f" launch template with ID {params.get('LaunchTemplateId', named)}."
        )
    return versions[0]


def _check_profile(call: Call, role: str) -> None:
    name = role.rpartition("/")[2]
    try:
        ask(call, "iam", "GetInstanceProfile", {"InstanceProfileName": name})
    except AwsError as error:
        raise UnfitError(f"CLIENT_ERROR - Invalid IamInstanceProfile: {role}") from error


def _check_user_data(encoded: str | None) -> None:
    if not encoded:
        return
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        content = b""
    if not email.message_from_bytes(content).is_multipart():
        raise UnfitError("CLIENT_ERROR - Launch Template UserData is not MIME multipart format")


def missing_image(image_id: str) -> UnfitError:
    """Why an environment whose AMI is gone is INVALID."""
    return UnfitError(f"{UNUSABLE_TEMPLATE} The image id '[{image_id}]' does not exist")


def _check_image(call: Call, image_id: str) -> None:
    gone = missing_image(image_id)
    try:
        images = ask(call, "ec2", "DescribeImages", {"ImageIds": [image_id]})["Images"]
    except AwsError as error:
        raise gone from error
    if not images or images[0].get("State", "available") != "available":
        raise gone
