"""`aws:batch/jobQueue:JobQueue` and `aws:batch/jobDefinition:JobDefinition`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code, error_message
from local_cloud.pulumi_plugin.fields import (
    block,
    blocks,
    boolean,
    from_api,
    json_document,
    mapping,
    text,
    text_set,
    to_api,
    whole,
)
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, InitFailedError, ResourceType
from local_cloud.pulumi_plugin.types.tagging import own_tags, tag_changes
from local_cloud.pulumi_plugin.values import Props

# -- job queues ------------------------------------------------------------------------------

_QUEUE = {
    "computeEnvironmentOrders": blocks(
        {"computeEnvironment": text(required=True), "order": whole(required=True)},
        api="computeEnvironmentOrder",
    ),
    "jobStateTimeLimitActions": blocks(
        {
            "action": text(required=True),
            "maxTimeSeconds": whole(required=True),
            "reason": text(required=True),
            "state": text(required=True),
        }
    ),
    "priority": whole(required=True),
    "schedulingPolicyArn": text(),
    "state": text(required=True),
}


def _create_queue(account: Account, news: Props) -> str:
    request = to_api(_QUEUE, news, "camel") | {"jobQueueName": news["name"]}
    request["state"] = request["state"].upper()
    if news.get("tags"):
        request["tags"] = news["tags"]
    return str(account.client("batch").create_job_queue(**request)["jobQueueArn"])


def _settle_queue(account: Account, resource_id: str, news: Props) -> None:
    def look() -> bool | None:
        seen = _find_queue(account, resource_id)
        if seen is None:
            raise InitFailedError("the job queue is gone")
        if seen["status"] in ("CREATING", "UPDATING"):
            return None
        if seen["status"] != "VALID":
            reason = seen.get("statusReason") or "no reason given"
            raise InitFailedError(
                f"unexpected state '{seen['status']}', wanted target 'VALID': {reason}"
            )
        return True

    account.wait_until(look, f"job queue {resource_id} to become VALID")


def _find_queue(account: Account, resource_id: str) -> Props | None:
    queues = account.client("batch").describe_job_queues(jobQueues=[resource_id])["jobQueues"]
    found = [queue for queue in queues if queue["status"] != "DELETED"]
    return dict(found[0]) if found else None


def _read_queue(account: Account, resource_id: str, state: Props) -> Props | None:
    seen = _find_queue(account, resource_id)
    if seen is None:
        return None
    return from_api(_QUEUE, seen, "camel") | {
        "arn": seen["jobQueueArn"],
        "name": seen["jobQueueName"],
        "tags": own_tags(seen.get("tags")),
        "region": account.region,
    }


def _update_queue(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    batch = account.client("batch")
    fields = {name: _QUEUE[name] for name in changed if name in _QUEUE}
    if fields:
        request = to_api(fields, news, "camel")
        if "state" in request:
            request["state"] = request["state"].upper()
        batch.update_job_queue(jobQueue=resource_id, **request)
    _update_tags(batch, olds["arn"], olds, news)
    return {}


def _delete_queue(account: Account, resource_id: str, state: Props) -> None:
    batch = account.client("batch")
    seen = _find_queue(account, resource_id)
    if seen is None:
        return
    if seen["status"] != "DELETING":
        try:
            batch.update_job_queue(jobQueue=resource_id, state="DISABLED")
        except Exception as error:
            if "does not exist" in error_message(error):
                return
            raise
        account.wait_until(lambda: _queue_is_at_rest(account, resource_id), "it to be disabled")
        batch.delete_job_queue(jobQueue=resource_id)
    account.wait_until(
        lambda: True if _find_queue(account, resource_id) is None else None,
        f"job queue {resource_id} to be deleted",
    )


def _queue_is_at_rest(account: Account, resource_id: str) -> bool | None:
    seen = _find_queue(account, resource_id)
    return True if seen is None or seen["status"] not in ("CREATING", "UPDATING") else None


def _update_tags(batch: Any, arn: str, olds: Props, news: Props) -> None:
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        batch.untag_resource(resourceArn=arn, tagKeys=to_remove)
    if to_set:
        batch.tag_resource(resourceArn=arn, tags=to_set)


JOB_QUEUE = ResourceType(
    pulumi_type="aws:batch/jobQueue:JobQueue",
    inputs={"name": text(required=True, replaces=True), "tags": TAGS, **_QUEUE},
    outputs=("arn", "tagsAll"),
    auto_name=AutoName(prefix_attribute=None, max_length=128),
    create=_create_queue,
    settle=_settle_queue,
    read=_read_queue,
    update=_update_queue,
    delete=_delete_queue,
)

# -- job definitions -------------------------------------------------------------------------

_DEFINITION = {
    "parameters": mapping(),
    "platformCapabilities": text_set(),
    "propagateTags": boolean(default=False),
    "retryStrategy": block(
        {
            "attempts": whole(),
            "evaluateOnExits": blocks(
                {
                    "action": text(required=True),
                    "onExitCode": text(),
                    "onReason": text(),
                    "onStatusReason": text(),
                },
                replaces=True,
                api="evaluateOnExit",
            ),
        }
    ),
    "schedulingPriority": whole(),
    "timeout": block({"attemptDurationSeconds": whole()}),
    "type": text(required=True),
}


def _reduced(document: Any) -> Any:
    """Without the empty lists and maps that Batch adds to what was registered; variables sorted."""
    if isinstance(document, dict):
        pairs = ((key, _reduced(value)) for key, value in document.items())
        kept = {key: value for key, value in pairs if value not in ([], {}, None, "")}
        if isinstance(kept.get("environment"), list):
            kept["environment"] = sorted(
                kept["environment"], key=lambda pair: str(pair.get("name"))
            )
        return kept
    if isinstance(document, list):
        return [_reduced(item) for item in document]
    return document


_DOCUMENTS = {
    "containerProperties": json_document(normal=_reduced),
    "ecsProperties": json_document(normal=_reduced),
}


def _register(account: Account, news: Props) -> Props:
    request = to_api(_DEFINITION, news, "camel") | {"jobDefinitionName": news["name"]}
    for name in _DOCUMENTS:
        document = news.get(name)
        if document:
            request[name] = json.loads(document) if isinstance(document, str) else document
    if news.get("tags"):
        request["tags"] = news["tags"]
    return dict(account.client("batch").register_job_definition(**request))


def _create_definition(account: Account, news: Props) -> str:
    return str(_register(account, news)["jobDefinitionArn"])


def _read_definition(account: Account, resource_id: str, state: Props) -> Props | None:
    # The engine keeps the first revision's ARN as the ID; the `arn` output follows the revisions.
    batch = account.client("batch")
    for arn in dict.fromkeys((state.get("arn") or resource_id, resource_id)):
        found = batch.describe_job_definitions(jobDefinitions=[arn])["jobDefinitions"]
        if found and found[0]["status"] == "ACTIVE":
            return _definition_props(account, found[0])
    return None


def _definition_props(account: Account, seen: Props) -> Props:
    arn, revision = seen["jobDefinitionArn"], seen["revision"]
    props = from_api(_DEFINITION, seen, "camel") | {
        "arn": arn,
        "arnPrefix": arn.removesuffix(f":{revision}"),
        "revision": revision,
        "name": seen["jobDefinitionName"],
        "tags": own_tags(seen.get("tags")),
        "region": account.region,
    }
    for name in _DOCUMENTS:
        if seen.get(name):
            props[name] = json.dumps(_reduced(seen[name]), separators=(",", ":"))
    return props


def _update_definition(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    batch = account.client("batch")
    if not changed - {"tags", "deregisterOnNewRevision"}:
        _update_tags(batch, olds["arn"], olds, news)
        return {}
    answer = _register(account, news)
    if news.get("deregisterOnNewRevision", True):
        batch.deregister_job_definition(jobDefinition=olds["arn"])
    return {"arn": answer["jobDefinitionArn"], "revision": answer["revision"]}


def _delete_definition(account: Account, resource_id: str, state: Props) -> None:
    """Deregister every active revision of the name, as the real provider does."""
    batch = account.client("batch")
    pages = batch.get_paginator("describe_job_definitions").paginate(
        jobDefinitionName=state["name"], status="ACTIVE"
    )
    for page in pages:
        for definition in page["jobDefinitions"]:
            try:
                batch.deregister_job_definition(jobDefinition=definition["jobDefinitionArn"])
            except Exception as error:
                if error_code(error) != "ClientException":
                    raise


def _unsettled_definition(news: Props, changed: Iterable[str]) -> frozenset[str]:
    if set(changed) - {"tags", "deregisterOnNewRevision"}:
        return frozenset({"arn", "revision"})
    return frozenset()


JOB_DEFINITION = ResourceType(
    pulumi_type="aws:batch/jobDefinition:JobDefinition",
    inputs={
        "name": text(required=True, replaces=True),
        "deregisterOnNewRevision": boolean(default=True),
        "tags": TAGS,
        **_DEFINITION,
        **_DOCUMENTS,
    },
    outputs=("arn", "arnPrefix", "revision", "tagsAll"),
    auto_name=AutoName(prefix_attribute=None, max_length=128),
    create=_create_definition,
    read=_read_definition,
    update=_update_definition,
    delete=_delete_definition,
    unsettled=_unsettled_definition,
)
