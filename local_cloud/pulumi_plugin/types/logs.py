"""`aws:cloudwatch/logGroup:LogGroup`."""

from __future__ import annotations

from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import boolean, text, whole
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import full_name, own_tags, tag_changes
from local_cloud.pulumi_plugin.values import Props

_MISSING = "ResourceNotFoundException"


def _create(account: Account, news: Props) -> str:
    name, extra = full_name(news), {}
    if news.get("kmsKeyId"):
        extra["kmsKeyId"] = news["kmsKeyId"]
    if news.get("logGroupClass"):
        extra["logGroupClass"] = news["logGroupClass"]
    if news.get("tags"):
        extra["tags"] = news["tags"]
    account.client("logs").create_log_group(logGroupName=name, **extra)
    return name


def _settle(account: Account, resource_id: str, news: Props) -> None:
    days = int(news.get("retentionInDays") or 0)
    seen = _find(account.client("logs"), resource_id) or {}
    if days and seen.get("retentionInDays") != days:
        account.client("logs").put_retention_policy(logGroupName=resource_id, retentionInDays=days)


def _find(logs: Any, name: str) -> Props | None:
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
        for group in page["logGroups"]:
            if group["logGroupName"] == name:
                return dict(group)
    return None


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    logs = account.client("logs")
    group = _find(logs, resource_id)
    if group is None:
        return None
    arn = str(group["arn"]).removesuffix(":*")
    return {
        "arn": arn,
        "kmsKeyId": group.get("kmsKeyId"),
        "logGroupClass": group.get("logGroupClass", "STANDARD"),
        "name": resource_id,
        "retentionInDays": group.get("retentionInDays", 0),
        "skipDestroy": state.get("skipDestroy", False),
        "tags": own_tags(logs.list_tags_for_resource(resourceArn=arn).get("tags")),
        "region": account.region,
    }


def _update(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    logs = account.client("logs")
    if "retentionInDays" in changed and not news.get("retentionInDays"):
        logs.delete_retention_policy(logGroupName=resource_id)
    if "kmsKeyId" in changed:
        if news.get("kmsKeyId"):
            logs.associate_kms_key(logGroupName=resource_id, kmsKeyId=news["kmsKeyId"])
        else:
            logs.disassociate_kms_key(logGroupName=resource_id)
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        logs.untag_resource(resourceArn=olds["arn"], tagKeys=to_remove)
    if to_set:
        logs.tag_resource(resourceArn=olds["arn"], tags=to_set)
    return {}


def _delete(account: Account, resource_id: str, state: Props) -> None:
    if state.get("skipDestroy"):
        return
    try:
        account.client("logs").delete_log_group(logGroupName=resource_id)
    except Exception as error:
        if error_code(error) != _MISSING:
            raise


LOG_GROUP = ResourceType(
    pulumi_type="aws:cloudwatch/logGroup:LogGroup",
    inputs={
        "kmsKeyId": text(),
        "logGroupClass": text(replaces=True, computed=True),
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "retentionInDays": whole(default=0),
        "skipDestroy": boolean(default=False),
        "tags": TAGS,
    },
    outputs=("arn", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=512),
    create=_create,
    settle=_settle,
    read=_read,
    update=_update,
    delete=_delete,
)
