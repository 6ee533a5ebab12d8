"""Batch's job queues."""

from __future__ import annotations

from local_cloud import lifecycle
from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import not_modelled
from local_cloud.inventory import Item, lists
from local_cloud.services.batch_model import (
    Queue,
    check_name,
    client_error,
    environments,
    find,
    key_of,
    make_arn,
    mine,
    page,
    queues,
    refused,
)
from local_cloud.services.batch_updates import end_jobs

HEALTHY = "JobQueue Healthy"
_NOT_MODELLED = ("schedulingPolicyArn", "serviceEnvironmentOrder", "jobQueueType")


def _refuse_unknown(params: Params) -> None:
    for name in _NOT_MODELLED:
        if params.get(name):
            raise not_modelled(f"{name} of a job queue")


@handles("batch", "CreateJobQueue")
def create(call: Call) -> Params:
    params, name = call.params, call.params["jobQueueName"]
    _refuse_unknown(params)
    check_name(call, name, "Job queue")
    orders = _checked_orders(call, params.get("computeEnvironmentOrder") or [])
    _check_priority(call, params["priority"])
    _check_limits(call, params.get("jobStateTimeLimitActions") or [])
    arn = make_arn(call, "job-queue", name)
    view: Params = {
        "jobQueueName": name,
        "jobQueueArn": arn,
        "state": params.get("state", "ENABLED"),
        "status": "CREATING",
        "statusReason": "",
        "priority": params["priority"],
        "computeEnvironmentOrder": orders,
        "jobStateTimeLimitActions": params.get("jobStateTimeLimitActions") or [],
    }
    with call.cloud.store.lock:
        if key_of(call, name) in queues(call.cloud):
            raise client_error("Object already exists")
        queue = Queue(call.account, call.region, name, arn, view, dict(params.get("tags") or {}))
        queues(call.cloud)[key_of(call, name)] = queue
    _make_ready(call.cloud, queue)
    return {"jobQueueName": name, "jobQueueArn": arn}


def _check_priority(call: Call, priority: int) -> None:
    if not 0 <= priority <= 1000:
        raise refused(call, "priority should be between 0 and 1000")


def _check_limits(call: Call, limits: list[Params]) -> None:
    """When jobs that wait are cancelled (API reference, `JobStateTimeLimitAction`)."""
    for limit in limits:
        if limit["action"] != "CANCEL":
            raise refused(call, "action of jobStateTimeLimitActions should be CANCEL")
        if not 600 <= limit["maxTimeSeconds"] <= 86_400:
            raise refused(call, "maxTimeSeconds should be between 600 and 86400")


def _checked_orders(call: Call, orders: list[Params]) -> list[Params]:
    """The environments by their ARNs; each must be there, and none of them twice."""
    if not orders:
        raise refused(call, "At least one compute environment must be provided")
    if len(orders) > 3:
        raise refused(call, "A job queue can have at most 3 compute environments")
    checked = []
    for order in orders:
        environment = find(call, environments(call.cloud), order["computeEnvironment"])
        if environment is None or environment.status == "DELETING":
            raise client_error(f"{order['computeEnvironment']} does not exist")
        if environment.status in ("CREATING", "INVALID"):
            raise client_error(
                f"{environment.arn} is not VALID, its status is {environment.status}"
            )
        checked.append({"order": order["order"], "computeEnvironment": environment.arn})
    if len({order["order"] for order in checked}) < len(checked):
        raise refused(call, "The order of compute environments must be unique")
    if len({order["computeEnvironment"] for order in checked}) < len(checked):
        raise refused(call, "A compute environment can be in a job queue only once")
    return checked


def _make_ready(cloud: Cloud, queue: Queue) -> None:
    due = cloud.latency.due("queue_changing")

    def job() -> None:
        if cloud.pause(due):
            return  # the next start goes on
        with cloud.store.lock:
            queue.view.update(status="VALID", statusReason=HEALTHY)

    cloud.background(f"batch queue {queue.name}", job)


@handles("batch", "DescribeJobQueues")
def describe(call: Call) -> Params:
    named, table = call.params.get("jobQueues"), queues(call.cloud)
    with call.cloud.store.lock:
        if named:
            found = [record for name in named if (record := find(call, table, name))]
        else:
            found = mine(call, table)
        return page(call, [record.shown() for record in found], "jobQueues")


@handles("batch", "UpdateJobQueue")
def update(call: Call) -> Params:
    params = call.params
    _refuse_unknown(params)
    queue = find(call, queues(call.cloud), params["jobQueue"])
    if queue is None:
        raise client_error(f"{params['jobQueue']} does not exist")
    with call.cloud.store.lock:
        if queue.view["status"] in ("CREATING", "UPDATING", "DELETING"):
            raise client_error("Cannot update, resource is being modified.")
        changes: Params = {
            name: params[name]
            for name in ("state", "priority", "jobStateTimeLimitActions")
            if params.get(name) is not None
        }
        _check_priority(call, changes.get("priority", 0))
        _check_limits(call, changes.get("jobStateTimeLimitActions", []))
        if params.get("computeEnvironmentOrder"):
            orders = _checked_orders(call, params["computeEnvironmentOrder"])
            changes["computeEnvironmentOrder"] = orders
        queue.view.update(changes, status="UPDATING", statusReason="")
    _make_ready(call.cloud, queue)
    return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}


@handles("batch", "DeleteJobQueue")
def delete(call: Call) -> Params:
    """Only a DISABLED queue, whose jobs are ended; nothing happens for one that is not there."""
    queue = find(call, queues(call.cloud), call.params["jobQueue"])
    if queue is None:
        return {}
    with call.cloud.store.lock:
        if queue.view["state"] != "DISABLED":
            raise client_error("Cannot delete, state must be DISABLED")
        if queue.view["status"] in ("CREATING", "UPDATING"):
            raise client_error("Cannot delete, resource is being modified.")
        queue.view["status"] = "DELETING"
    _remove(call.cloud, queue)
    return {}


def _remove(cloud: Cloud, queue: Queue) -> None:
    due = cloud.latency.due("queue_changing")

    def job() -> None:
        if not end_jobs(cloud, queue.arn, "Job queue is deleted") or cloud.pause(due):
            return
        with cloud.store.lock:
            queues(cloud).pop((queue.account, queue.region, queue.name), None)

    cloud.background(f"batch queue {queue.name}", job)


@lifecycle.at_start
def go_on(cloud: Cloud) -> None:
    """What was under way when the last process ended is taken up again."""
    for queue in list(queues(cloud).values()):
        if queue.view["status"] in ("CREATING", "UPDATING"):
            _make_ready(cloud, queue)
        elif queue.view["status"] == "DELETING":
            _remove(cloud, queue)


@lists("queue")
def list_queues(cloud: Cloud) -> list[Item]:
    return [
        {
            "id": record.arn,
            "name": record.name,
            "region": record.region,
            "state": record.view["state"],
        }
        for record in queues(cloud).values()
    ]
