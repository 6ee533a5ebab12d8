"""The rest of Batch: tags of its resources, and plain refusals of what runs no jobs yet."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import not_modelled
from local_cloud.services.batch_model import (
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
    )
    if record is None:
        raise client_error(f"{arn} does not exist")
    return record


@handles("batch", "TagResource")
def tag(call: Call) -> Params:
    record = _get(call)
    with call.cloud.store.lock:
        after = record.tags | call.params["tags"]
        if len(after) > 50:
            raise client_error("A resource can have at most 50 tags")
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


@handles("batch", "ListJobs")
def list_jobs(call: Call) -> Params:
    """None: no job can be submitted yet."""
    wanted = call.params.get("jobQueue")
    if wanted and find(call, queues(call.cloud), wanted) is None:
        raise client_error(f"Job queue {wanted} does not exist")
    return {"jobSummaryList": []}


@handles("batch", "DescribeJobs")
def describe_jobs(_call: Call) -> Params:
    """None, as for any ID that Batch does not know."""
    return {"jobs": []}


@handles(
    "batch",
    "CancelJob",
    "CreateSchedulingPolicy",
    "DeleteSchedulingPolicy",
    "DescribeSchedulingPolicies",
    "ListSchedulingPolicies",
    "SubmitJob",
    "TerminateJob",
    "UpdateSchedulingPolicy",
)
def refuse(call: Call) -> Params:
    raise not_modelled(f"{call.action} of Batch")
