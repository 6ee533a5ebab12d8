"""Batch compute environments that would launch machines from an AMI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error
from ami_provider.templates import find_image_of


def find_environments(aws: Aws, image_id: str) -> list[str]:
    """Each environment that names the AMI itself, or a launch template version with it, in words.

    Raises `BakeError` where Batch cannot be asked.
    """
    try:
        pages = aws.client("batch").get_paginator("describe_compute_environments").paginate()
        return [
            f"compute environment {environment['computeEnvironmentName']}{how}"
            for page in pages
            for environment in page["computeEnvironments"]
            if environment.get("status") != "DELETED"
            for how in _list_uses(aws, environment.get("computeResources") or {}, image_id)
        ]
    except Exception as error:
        if not is_aws_error(error):
            raise
        brief = f"could not find out which compute environments use {image_id}"
        actions = "batch:DescribeComputeEnvironments, ec2:DescribeLaunchTemplateVersions"
        raise bake_error(error, brief, actions) from error


def _list_uses(aws: Aws, resources: Mapping[str, Any], image_id: str) -> Iterator[str]:
    configurations = resources.get("ec2Configuration") or ()
    named = [resources.get("imageId"), *(c.get("imageIdOverride") for c in configurations)]
    if image_id in named:
        yield ""
    template = resources.get("launchTemplate") or {}
    for one in (template, *(template.get("overrides") or ())):
        if one and find_image_of(aws, one) == image_id:
            which = one.get("launchTemplateName") or one.get("launchTemplateId")
            version = one.get("version") or "$Default"
            yield f", by version {version} of launch template {which}"
