"""SubmitJob, DescribeJobs, ListJobs, CancelJob, TerminateJob."""

from __future__ import annotations

import copy
from collections.abc import Callable

from local_cloud.call import Call, Params, handles
from local_cloud.errors import not_modelled
from local_cloud.services.batch_attempts import finish_job, matches
from local_cloud.services.batch_job_model import (
    ENDED,
    PLACED,
    Job,
    cancel_event,
    find_job,
    jobs,
    wake,
)
from local_cloud.services.batch_model import client_error, find, page, queues, refused
from local_cloud.services.batch_submit import new_job, refuse_unknown

_SUMMARY = (
    "jobArn", "jobId", "jobName", "createdAt", "status", "statusReason", "startedAt", "stoppedAt",
    "jobDefinition", "isCancelled", "isTerminated",
)  # fmt: skip


@handles("batch", "SubmitJob")
def submit(call: Call) -> Params:
    with call.cloud.store.lock:  # So that its queue is there as long as it is looked at.
        job = new_job(call)
        jobs(call.cloud)[job.id] = job
    wake.set()
    return {"jobArn": job.arn, "jobName": job.name, "jobId": job.id}


def shown(job: Job) -> Params:
    """What DescribeJobs shows. `startedAt` is 0 for a job that did not start yet."""
    view = copy.deepcopy(job.view) | {"tags": dict(job.tags)}
    view["container"].setdefault("networkInterfaces", [])
    view.setdefault("startedAt", 0)
    return view


@handles("batch", "DescribeJobs")
def describe(call: Call) -> Params:
    """Up to 100 jobs; an ID that Batch does not know is left out."""
    named = call.params["jobs"]
    if len(named) > 100:
        raise refused(call, "At most 100 jobs can be described at once")
    with call.cloud.store.lock:
        found = [job for job_id in named if (job := find_job(call, job_id))]
        return {"jobs": [shown(job) for job in found]}


@handles("batch", "ListJobs")
def list_jobs(call: Call) -> Params:
    """Of a queue: by a filter, else by status (RUNNING where none is asked for)."""
    params = call.params
    for name in ("arrayJobId", "multiNodeJobId"):
        if params.get(name):
            raise not_modelled(f"{name} of ListJobs")
    if not params.get("jobQueue"):
        raise client_error("One of jobQueue, arrayJobId or multiNodeJobId must be given")
    queue = find(call, queues(call.cloud), params["jobQueue"])
    if queue is None:
        raise client_error(f"Job queue {params['jobQueue']} does not exist")
    filters = params.get("filters") or []
    if len(filters) > 1:
        raise client_error("Only one filter can be used at a time")
    passes = [_filter(one) for one in filters]
    # A filter makes AWS ignore the status.
    status = "" if filters else params.get("jobStatus") or "RUNNING"
    with call.cloud.store.lock:
        found = [
            _summary(job)
            for job in jobs(call.cloud).values()
            if job.queue == queue.arn
            and status in ("", job.status)
            and all(one(job) for one in passes)
        ]
    found.sort(key=lambda one: -int(one["createdAt"]))
    return page(call, found, "jobSummaryList")


def _summary(job: Job) -> Params:
    summary: Params = {name: job.view[name] for name in _SUMMARY if name in job.view}
    container = job.view["container"]
    held = {name: container[name] for name in ("exitCode", "reason") if name in container}
    return summary | ({"container": held} if held else {})


def _filter(asked: Params) -> Callable[[Job], bool]:
    """Whether a job passes, as the API reference says of each filter."""
    name, values = asked.get("name"), [str(value) for value in asked.get("values") or []]
    if name == "JOB_NAME":
        return lambda job: any(matches(job.name.lower(), value.lower()) for value in values)
    if name == "JOB_DEFINITION":
        return lambda job: _is_of(str(job.view["jobDefinition"]), values)
    if name not in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
        raise not_modelled(f"the filter {name} of ListJobs")
    for value in values:
        if not value.isdecimal():
            raise client_error(f"A time is needed in milliseconds since 1970, but is {value}")
    moments = [int(value) for value in values]
    if name == "BEFORE_CREATED_AT":
        return lambda job: all(int(job.view["createdAt"]) < moment for moment in moments)
    return lambda job: all(int(job.view["createdAt"]) > moment for moment in moments)


def _is_of(definition: str, values: list[str]) -> bool:
    """By the ARN of a revision, or by the name for all of them."""
    name = definition.rsplit("/", 1)[-1].partition(":")[0]
    return definition in values or any(matches(name, value) for value in values)


@handles("batch", "CancelJob")
def cancel(call: Call) -> Params:
    """Ends a job that is not on a machine yet; for others nothing happens, and that is no error.

    A PENDING job ends when all that it depends on has.
    """
    job = find_job(call, call.params["jobId"])
    if job is None:
        raise refuse_unknown(call, call.params["jobId"])
    with call.cloud.store.lock:
        if job.status not in (*PLACED, *ENDED):
            job.view["isCancelled"] = True
            job.why_stopped = call.params["reason"]
            if job.status == "RUNNABLE":
                finish_job(job, "FAILED", job.why_stopped)
    wake.set()
    return {}


@handles("batch", "TerminateJob")
def terminate(call: Call) -> Params:
    """Ends a job wherever it is; a running container gets SIGTERM, and SIGKILL later."""
    job = find_job(call, call.params["jobId"])
    if job is None:
        raise refuse_unknown(call, call.params["jobId"])
    with call.cloud.store.lock:
        end_job(job, call.params["reason"])
    wake.set()
    return {}


def end_job(job: Job, reason: str) -> None:
    """Terminate a job, whatever its status (the store's lock is held); may be repeated."""
    if job.status in ENDED:
        return
    job.view["isTerminated"] = True
    if job.status in PLACED:
        job.why_stopped, job.no_retry = reason, True
        cancel_event(job.id).set()
    else:
        finish_job(job, "FAILED", reason)
