"""A compute environment's attributes, and which of their changes replace it."""

from __future__ import annotations

import re

from local_cloud.pulumi_plugin.compare import Change
from local_cloud.pulumi_plugin.fields import (
    block,
    blocks,
    boolean,
    mapping,
    text,
    text_set,
    whole,
)
from local_cloud.pulumi_plugin.values import Props

COMPUTE_RESOURCES = {
    "allocationStrategy": text(),
    "bidPercentage": whole(),
    "desiredVcpus": whole(computed=True, api="desiredvCpus"),
    "ec2Configurations": blocks(
        {
            "imageIdOverride": text(computed=True),
            "imageKubernetesVersion": text(),
            "imageType": text(),
        },
        computed=True,
        replaces=True,
        api="ec2Configuration",
    ),
    "ec2KeyPair": text(),
    "imageId": text(),
    "instanceRole": text(),
    "instanceTypes": text_set(),
    "launchTemplate": block(
        {
            "launchTemplateId": text(),
            "launchTemplateName": text(),
            "version": text(computed=True),
        },
        replaces=True,
    ),
    "maxVcpus": whole(required=True, api="maxvCpus"),
    "minVcpus": whole(api="minvCpus"),
    "placementGroup": text(replaces=True),
    "securityGroupIds": text_set(),
    "spotIamFleetRole": text(replaces=True),
    "subnets": text_set(required=True),
    "tags": mapping(),
    "type": text(required=True),
}
UPDATE_POLICY = {
    "jobExecutionTimeoutMinutes": whole(default=30),
    "terminateJobsOnUpdate": boolean(default=False),
}

#: Strategies under which Batch updates the machines of an environment in place.
UPDATABLE_STRATEGIES = (
    "BEST_FIT_PROGRESSIVE",
    "SPOT_CAPACITY_OPTIMIZED",
    "SPOT_PRICE_CAPACITY_OPTIMIZED",
)
#: What forces a replacement when Batch cannot update in place (real provider's `CustomizeDiff`).
FORCING_UNLESS_UPDATABLE = (
    "allocationStrategy",
    "bidPercentage",
    "ec2Configurations",
    "ec2KeyPair",
    "imageId",
    "instanceRole",
    "instanceTypes",
    "launchTemplate",
    "securityGroupIds",
    "subnets",
    "tags",
)
_SERVICE_LINKED = re.compile(r"arn:[^:]+:iam::\d{12}:role/aws-service-role/batch\.amazonaws\.com/")


def is_service_linked(role: str | None) -> bool:
    """Whether the environment uses Batch's own role: none given, or its ARN."""
    return not role or _SERVICE_LINKED.match(role) is not None


def is_updatable(olds: Props, old_inputs: Props, news: Props) -> bool:
    """Whether Batch can update the environment's machines in place, before and after the change."""
    roles = (
        old_inputs.get("serviceRole") or olds.get("serviceRole"),
        news.get("serviceRole") or olds.get("serviceRole"),
    )
    strategies = (
        (inputs.get("computeResources") or {}).get("allocationStrategy")
        for inputs in (old_inputs, news)
    )
    return all(map(is_service_linked, roles)) and all(
        str(strategy).upper() in UPDATABLE_STRATEGIES for strategy in strategies
    )


def forced(olds: Props, old_inputs: Props, news: Props, found: list[Change]) -> list[Change]:
    if is_updatable(olds, old_inputs, news):
        return found
    prefixes = tuple(f"computeResources.{name}" for name in FORCING_UNLESS_UPDATABLE)
    return [change.forcing() if _under(change.path, prefixes) else change for change in found]


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes
    )
