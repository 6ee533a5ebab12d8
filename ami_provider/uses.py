"""Finds out who uses an AMI: machines, compute environments, launch templates that they name."""

from __future__ import annotations

from ami_provider.aws import Aws
from ami_provider.errors import bake_error, get_code, is_aws_error, is_not_found


def find_users(aws: Aws, image_id: str) -> list[str]:
    """Machines, compute environments and templates they name that use the AMI, in words."""
    users: list[str] = []
    filters = [
        {"Name": "image-id", "Values": [image_id]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    try:
        pages = aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
        for page in pages:
            for machine in (m for r in page["Reservations"] for m in r["Instances"]):
                users.append(f"machine {machine['InstanceId']} ({machine['State']['Name']})")
        for batch_page in (
            aws.client("batch").get_paginator("describe_compute_environments").paginate()
        ):
            for environment in batch_page["computeEnvironments"]:
                users += _environment_uses(aws, environment, image_id)
    except Exception as error:
        if not is_aws_error(error):
            raise
        action = "ec2:DescribeInstances, batch:DescribeComputeEnvironments"
        raise bake_error(error, f"could not find out who uses {image_id}", action) from error
    return users


def _environment_uses(aws: Aws, environment: dict[str, object], image_id: str) -> list[str]:
    resources: dict[str, object] = environment.get("computeResources") or {}  # type: ignore[assignment]
    name = environment.get("computeEnvironmentName")
    named = [resources.get("imageId")]
    for configuration in resources.get("ec2Configuration") or ():  # type: ignore[attr-defined]
        named.append(configuration.get("imageIdOverride"))
    if image_id in named:
        return [f"compute environment {name}"]
    template: dict[str, str] = resources.get("launchTemplate") or {}  # type: ignore[assignment]
    if template and _template_image(aws, template) == image_id:
        version = template.get("version", "$Default")
        which = template.get("launchTemplateName") or template.get("launchTemplateId")
        return [f"compute environment {name}, by version {version} of launch template {which}"]
    return []


def _template_image(aws: Aws, template: dict[str, str]) -> str | None:
    which = {
        key: template[name]
        for key, name in (
            ("LaunchTemplateId", "launchTemplateId"),
            ("LaunchTemplateName", "launchTemplateName"),
        )
        if template.get(name)
    }
    version = template.get("version") or "$Default"
    try:
        found = aws.ec2.describe_launch_template_versions(**which, Versions=[version])  # type: ignore[arg-type]
        return found["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("ImageId")
    except Exception as error:
        if is_not_found(error) or get_code(error).startswith("InvalidLaunchTemplate"):
            return None
        raise
