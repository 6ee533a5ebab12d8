"""`aws:batch/jobDefinition:JobDefinition`: every change is a new revision, in place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code
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
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import own_tags, update_batch_tags
from local_cloud.pulumi_plugin.values import Props

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
        update_batch_tags(batch, olds["arn"], olds, news)
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
