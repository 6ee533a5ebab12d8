"""`aws:batch/jobQueue:JobQueue`."""

from __future__ import annotations

from local_cloud.pulumi_plugin.aws import Account, error_message
from local_cloud.pulumi_plugin.fields import (
    blocks,
    from_api,
    text,
    to_api,
    whole,
)
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, InitFailedError, ResourceType
from local_cloud.pulumi_plugin.types.tagging import own_tags, update_batch_tags
from local_cloud.pulumi_plugin.values import Props

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
    update_batch_tags(batch, olds["arn"], olds, news)
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
