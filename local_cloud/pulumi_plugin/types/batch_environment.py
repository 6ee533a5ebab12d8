"""`aws:batch/computeEnvironment:ComputeEnvironment`: updated in place, or replaced."""

from __future__ import annotations

import re
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_message
from local_cloud.pulumi_plugin.compare import Change
from local_cloud.pulumi_plugin.fields import (
    block,
    blocks,
    boolean,
    from_api,
    mapping,
    text,
    text_set,
    to_api,
    whole,
)
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, InitFailedError, ResourceType
from local_cloud.pulumi_plugin.types.tagging import full_name, own_tags, tag_changes
from local_cloud.pulumi_plugin.values import Props, is_empty

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
#: What an update request names only when it changed; `maxVcpus` always goes along.
_UPDATED = (
    "allocationStrategy",
    "bidPercentage",
    "desiredVcpus",
    "ec2Configurations",
    "ec2KeyPair",
    "imageId",
    "instanceRole",
    "instanceTypes",
    "launchTemplate",
    "minVcpus",
    "securityGroupIds",
    "subnets",
    "tags",
    "type",
)
_CLEARED: dict[str, Any] = {
    "allocationStrategy": "",
    "bidPercentage": 0,
    "ec2KeyPair": "",
    "imageId": "",
    "instanceRole": "",
    "minVcpus": 0,
    "tags": {},
}
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


def _forced(olds: Props, old_inputs: Props, news: Props, found: list[Change]) -> list[Change]:
    if is_updatable(olds, old_inputs, news):
        return found
    prefixes = tuple(f"computeResources.{name}" for name in FORCING_UNLESS_UPDATABLE)
    return [change.forcing() if _under(change.path, prefixes) else change for change in found]


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes
    )


def _create(account: Account, news: Props) -> str:
    request: Props = {
        "computeEnvironmentName": full_name(news),
        "type": str(news["type"]).upper(),
        "state": str(news.get("state", "ENABLED")).upper(),
    }
    if news.get("computeResources"):
        request["computeResources"] = to_api(COMPUTE_RESOURCES, news["computeResources"], "camel")
    if news.get("serviceRole"):
        request["serviceRole"] = news["serviceRole"]
    if news.get("tags"):
        request["tags"] = news["tags"]
    answer = account.client("batch").create_compute_environment(**request)
    return str(answer["computeEnvironmentName"])


def _settle(account: Account, resource_id: str, news: Props) -> None:
    """Wait for VALID. The update policy cannot be set by a create: an update sets it then."""
    _wait_until_valid(account, resource_id)
    wanted = news.get("updatePolicy")
    if not wanted:
        return
    seen = _find(account, resource_id) or {}
    policy = to_api(UPDATE_POLICY, wanted, "camel")
    if seen.get("updatePolicy") == policy:
        return
    try:
        account.client("batch").update_compute_environment(
            computeEnvironment=resource_id, updatePolicy=policy
        )
    except Exception as error:
        raise InitFailedError(f"setting the update policy: {error_message(error)}") from error
    _wait_until_valid(account, resource_id)


def _wait_until_valid(account: Account, name: str) -> None:
    def look() -> str | None:
        seen = _find(account, name)
        if seen is None:
            raise InitFailedError("the compute environment is gone")
        if seen["status"] in ("CREATING", "UPDATING"):
            return None
        if seen["status"] != "VALID":
            reason = seen.get("statusReason") or "no reason given"
            raise InitFailedError(
                f"unexpected state '{seen['status']}', wanted target 'VALID': {reason}"
            )
        return "VALID"

    account.wait_until(look, f"compute environment {name} to become VALID")


def _find(account: Account, name: str) -> Props | None:
    answer = account.client("batch").describe_compute_environments(computeEnvironments=[name])
    found = [each for each in answer["computeEnvironments"] if each["status"] != "DELETED"]
    return dict(found[0]) if found else None


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    seen = _find(account, resource_id)
    if seen is None:
        return None
    props: Props = {
        "arn": seen["computeEnvironmentArn"],
        "name": seen["computeEnvironmentName"],
        "ecsClusterArn": seen.get("ecsClusterArn"),
        "serviceRole": seen.get("serviceRole"),
        "state": seen.get("state"),
        "status": seen["status"],
        "statusReason": seen.get("statusReason"),
        "type": seen["type"],
        "tags": own_tags(seen.get("tags")),
        "region": account.region,
    }
    if seen.get("computeResources"):
        props["computeResources"] = from_api(COMPUTE_RESOURCES, seen["computeResources"], "camel")
    if seen.get("updatePolicy"):
        props["updatePolicy"] = from_api(UPDATE_POLICY, seen["updatePolicy"], "camel")
    return props


def _update(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    batch = account.client("batch")
    if changed - {"tags"} or not changed:
        request: Props = {"computeEnvironment": resource_id}
        if "serviceRole" in changed:
            request["serviceRole"] = news.get("serviceRole", "")
        if "state" in changed:
            request["state"] = str(news["state"]).upper()
        if "updatePolicy" in changed and news.get("updatePolicy"):
            request["updatePolicy"] = to_api(UPDATE_POLICY, news["updatePolicy"], "camel")
        if str(news["type"]).upper() == "MANAGED":
            request["computeResources"] = _resource_update(olds, news)
        batch.update_compute_environment(**request)
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        batch.untag_resource(resourceArn=olds["arn"], tagKeys=to_remove)
    if to_set:
        batch.tag_resource(resourceArn=olds["arn"], tags=to_set)
    return {}


def _resource_update(olds: Props, news: Props) -> Props:
    before, after = olds.get("computeResources") or {}, news.get("computeResources") or {}
    only = {
        name: COMPUTE_RESOURCES[name]
        for name in _UPDATED
        if before.get(name) != after.get(name) and not is_empty(after.get(name))
    }
    request = to_api({**only, "maxVcpus": COMPUTE_RESOURCES["maxVcpus"]}, after, "camel")
    for name, cleared in _CLEARED.items():
        if not is_empty(before.get(name)) and is_empty(after.get(name)):
            request[COMPUTE_RESOURCES[name].api_name(name, "camel")] = cleared
    return request


def _delete(account: Account, resource_id: str, state: Props) -> None:
    batch = account.client("batch")
    seen = _find(account, resource_id)
    if seen is None:
        return
    if seen["status"] != "DELETING":
        batch.update_compute_environment(computeEnvironment=resource_id, state="DISABLED")
        # The real provider goes on when the environment ends up INVALID here.
        account.wait_until(
            lambda: _is_at_rest(account, resource_id), f"{resource_id} to be disabled"
        )
        batch.delete_compute_environment(computeEnvironment=resource_id)
    account.wait_until(
        lambda: True if _find(account, resource_id) is None else None,
        f"compute environment {resource_id} to be deleted",
    )


def _is_at_rest(account: Account, name: str) -> bool | None:
    seen = _find(account, name)
    return True if seen is None or seen["status"] not in ("CREATING", "UPDATING") else None


COMPUTE_ENVIRONMENT = ResourceType(
    pulumi_type="aws:batch/computeEnvironment:ComputeEnvironment",
    inputs={
        "computeResources": block(COMPUTE_RESOURCES, computed=True),
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "serviceRole": text(computed=True),
        "state": text(default="ENABLED"),
        "tags": TAGS,
        "type": text(required=True, replaces=True),
        "updatePolicy": block(UPDATE_POLICY, computed=True),
    },
    outputs=("arn", "ecsClusterArn", "status", "statusReason", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=128),
    create=_create,
    settle=_settle,
    read=_read,
    update=_update,
    delete=_delete,
    forced=_forced,
)
