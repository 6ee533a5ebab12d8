"""`aws:batch/computeEnvironment:ComputeEnvironment`: updated in place, or replaced."""

from __future__ import annotations

from typing import Any

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import (
    block,
    from_api,
    text,
    to_api,
)
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, InitFailedError, ResourceType
from local_cloud.pulumi_plugin.types.batch_environment_rules import (
    COMPUTE_RESOURCES,
    UPDATE_POLICY,
    forced,
)
from local_cloud.pulumi_plugin.types.tagging import full_name, own_tags, update_batch_tags
from local_cloud.pulumi_plugin.values import Props, is_empty

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


def _finish(account: Account, resource_id: str, news: Props) -> None:
    """The update policy cannot be set by a create: an update sets it once the thing is VALID."""
    policy = to_api(UPDATE_POLICY, news.get("updatePolicy") or {}, "camel")
    if policy:
        _wait_until_valid(account, resource_id, news)
        account.client("batch").update_compute_environment(
            computeEnvironment=resource_id, updatePolicy=policy
        )


def _wait_until_valid(account: Account, name: str, _news: Props) -> None:
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
    if changed - {"tags"}:  # else the real provider sends nothing, and waits for nothing
        request: Props = {"computeEnvironment": resource_id}
        if "serviceRole" in changed:
            request["serviceRole"] = news.get("serviceRole", "")
        if "state" in changed:
            request["state"] = str(news["state"]).upper()
        if news.get("updatePolicy") and "updatePolicy" in changed:
            request["updatePolicy"] = to_api(UPDATE_POLICY, news["updatePolicy"], "camel")
        if str(news["type"]).upper() == "MANAGED":
            request["computeResources"] = _resource_update(olds, news)
        batch.update_compute_environment(**request)
    update_batch_tags(batch, olds["arn"], olds, news)
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
    finish=_finish,
    settle=_wait_until_valid,
    settles_unchanged=False,
    compares_state=True,
    read=_read,
    update=_update,
    delete=_delete,
    forced=forced,
)
