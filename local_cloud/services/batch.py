"""The rest of Batch: tags of its resources, and plain refusals of scheduling policies."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import not_modelled
from local_cloud.services.batch_job_model import find_job
from local_cloud.services.batch_model import (
    MOST_TAGS,
    Record,
    client_error,
    definitions,
    environments,
    find,
    queues,
)


def _get(call: Call) -> Record:
    arn = call.params["resourceArn"]
    record: Record | None = (
        find(call, environments(call.cloud), arn)
        or find(call, queues(call.cloud), arn)
        or find(call, definitions(call.cloud), arn)
        or find_job(call, arn)
    )
    if record is None:
        raise client_error(f"{arn} does not exist")
    return record


@handles("batch", "TagResource")
def tag(call: Call) -> Params:
    record = _get(call)
    with call.cloud.store.lock:
        after = record.tags | call.params["tags"]
        if len(after) > MOST_TAGS:
            raise client_error(f"A resource can have at most {MOST_TAGS} tags")
        record.tags = after
    return {}


@handles("batch", "UntagResource")
def untag(call: Call) -> Params:
    record = _get(call)
    with call.cloud.store.lock:
        gone = set(call.params["tagKeys"])
        record.tags = {key: value for key, value in record.tags.items() if key not in gone}
    return {}


@handles("batch", "ListTagsForResource")
def list_tags(call: Call) -> Params:
    return {"tags": dict(_get(call).tags)}


@handles(
    "batch",
    "CreateSchedulingPolicy",
    "DeleteSchedulingPolicy",
    "DescribeSchedulingPolicies",
    "ListSchedulingPolicies",
    "UpdateSchedulingPolicy",
)
def refuse(call: Call) -> Params:
    raise not_modelled(f"{call.action} of Batch")
