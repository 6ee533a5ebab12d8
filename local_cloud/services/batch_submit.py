"""A job from its definition and what SubmitJob overrides of it, checked as Batch checks it."""

from __future__ import annotations

import copy
import time
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.batch_job_model import Job, Needs, find_job, milliseconds
from local_cloud.services.batch_job_rules import (
    check_requirements,
    check_tries_and_time,
    requirements_of,
)
from local_cloud.services.batch_model import (
    MOST_TAGS,
    Definition,
    Queue,
    check_name,
    client_error,
    definitions,
    find,
    make_arn,
    mine,
    new_uuid,
    queues,
    refused,
)

_NOT_MODELLED = (
    "arrayProperties", "nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride",
    "shareIdentifier", "schedulingPriorityOverride", "consumableResourcePropertiesOverride",
)  # fmt: skip
#: Settings of a container that would change what runs, and that no job here could be given.
_NOT_IN_CONTAINER = (
    "executionRoleArn", "secrets", "networkConfiguration", "enableExecuteCommand",
    "ephemeralStorage", "runtimePlatform", "repositoryCredentials", "instanceType",
    "fargatePlatformConfiguration",
)  # fmt: skip
LOG_DRIVERS = ("awslogs", "json-file", "none")
DEFAULT_LOG_GROUP = "/aws/batch/job"


def new_job(call: Call) -> Job:
    """The job that the call asks for. Raises AwsError as Batch does, or NotImplemented."""
    params = call.params
    for name in _NOT_MODELLED:
        if params.get(name):
            raise not_modelled(f"{name} of a job")
    check_name(call, params["jobName"], "Job")
    queue = _get_queue(call, params["jobQueue"])
    definition = _get_definition(call, params["jobDefinition"])
    container = _container(call, definition, params.get("containerOverrides") or {})
    depends = _dependencies(call, params.get("dependsOn") or [])
    retry = params.get("retryStrategy") or definition.view.get("retryStrategy") or {}
    timeout = params.get("timeout") or definition.view.get("timeout")
    check_tries_and_time(call, retry, timeout or {})
    retry = {
        "attempts": retry.get("attempts", 1),
        "evaluateOnExit": retry.get("evaluateOnExit", []),
    }
    parameters = (definition.view.get("parameters") or {}) | (params.get("parameters") or {})
    identity, moment = new_uuid(), time.time()
    propagate = params.get("propagateTags", definition.view.get("propagateTags", False))
    view: Params = {
        "jobArn": make_arn(call, "job", identity), "jobName": params["jobName"],
        "jobId": identity, "jobQueue": queue.arn, "status": "SUBMITTED", "attempts": [],
        "createdAt": milliseconds(moment), "retryStrategy": retry, "dependsOn": depends,
        "jobDefinition": definition.arn, "parameters": parameters, "container": container,
        "propagateTags": propagate, "isCancelled": False, "isTerminated": False,
    }  # fmt: skip
    if "platformCapabilities" in definition.view:
        view["platformCapabilities"] = definition.view["platformCapabilities"]
    if timeout:
        view["timeout"] = timeout
    tags = dict(params.get("tags") or {})
    if len(tags) > MOST_TAGS:
        raise refused(call, f"A resource can have at most {MOST_TAGS} tags")
    job = Job(call.account, call.region, params["jobName"], view["jobArn"], view, tags)
    job.queue, job.needs = queue.arn, needs_of(container)
    job.timelines = [{"submitted": moment}]
    return job


def _get_queue(call: Call, named: str) -> Queue:
    queue = find(call, queues(call.cloud), named)
    if queue is None or queue.view["status"] == "DELETING":
        raise client_error(f"JobQueue {named} not found.")
    if queue.view["state"] != "ENABLED" or queue.view["status"] == "INVALID":
        raise refused(call, f"JobQueue {named} is not ENABLED and VALID: it takes no jobs")
    return queue


def _get_definition(call: Call, named: str) -> Definition:
    """By ARN or name with a revision, or the newest active revision of a name."""
    name = named.partition(":job-definition/")[2] or named
    found = definitions(call.cloud).get((call.account, call.region, name))
    if found is None and ":" not in name:
        active = [
            one
            for one in mine(call, definitions(call.cloud))
            if one.name == name and one.view["status"] == "ACTIVE"
        ]
        found = max(active, key=lambda one: int(one.view["revision"]), default=None)
    if found is None or found.view["status"] != "ACTIVE":
        if named.startswith("arn:"):
            raise client_error(f"JobDefinition {named} not found.")
        raise client_error(f"JobDefinition name {named} does not exist or is not in ACTIVE status")
    return found


def _container(call: Call, definition: Definition, overrides: Params) -> Params:
    """The definition's container with the overrides, vCPUs and memory as requirements."""
    container: Params = copy.deepcopy(definition.view["containerProperties"])
    for name in _NOT_IN_CONTAINER:
        if container.get(name) or overrides.get(name):
            raise not_modelled(f"{name} of a job's container")
    for volume in container.get("volumes") or []:
        if volume.get("efsVolumeConfiguration"):
            raise not_modelled("EFS volumes of a job's container")
    log = container.get("logConfiguration") or {}
    if log and (log["logDriver"] not in LOG_DRIVERS or log.get("secretOptions")):
        raise not_modelled(f"logConfiguration {log}")
    # The older overrides do not reach what the definition says as a requirement (API reference).
    old = {name: overrides[name] for name in ("vcpus", "memory") if overrides.get(name)}
    new = {"resourceRequirements": overrides.get("resourceRequirements")}
    wanted = requirements_of(container | old) | requirements_of(new)
    check_requirements(call, wanted)
    container.pop("vcpus", None)
    container.pop("memory", None)
    container["resourceRequirements"] = [
        {"type": kind, "value": value} for kind, value in wanted.items()
    ]
    if overrides.get("command"):
        container["command"] = overrides["command"]
    named = [*(container.get("environment") or []), *(overrides.get("environment") or [])]
    variables = {one["name"]: one.get("value", "") for one in named}
    reserved = [name for name in variables if name.startswith("AWS_BATCH")]
    if reserved:
        raise refused(call, f"Environment variables must not start with AWS_BATCH: {reserved[0]}")
    container["environment"] = [{"name": name, "value": value} for name, value in variables.items()]
    for name in ("command", "volumes", "mountPoints", "ulimits", "secrets"):
        container.setdefault(name, [])
    return container


def needs_of(container: Params) -> Needs:
    wanted = {one["type"]: one["value"] for one in container["resourceRequirements"]}
    return Needs(float(wanted["VCPU"]), int(wanted["MEMORY"]), int(wanted.get("GPU", 0)))


def _dependencies(call: Call, asked: list[Any]) -> list[Params]:
    if len(asked) > 20:
        raise refused(call, "A job can have at most 20 dependencies")
    for one in asked:
        if one.get("type"):
            raise not_modelled(f"dependencies of type {one['type']} (they belong to array jobs)")
        if not one.get("jobId"):
            raise refused(call, "A dependency needs a jobId")
        if find_job(call, one["jobId"]) is None:
            raise refused(call, f"Dependency job {one['jobId']} does not exist")
    return [{"jobId": one["jobId"]} for one in asked]


def log_options(job: Job, task: str) -> tuple[Params, str | None]:
    """Docker's LogConfig for the job's task, and the stream's name where there is one.

    Without a configuration: the group `/aws/batch/job`, which Batch makes, and the stream
    `definition/default/task` (Batch user guide, "Using the awslogs log driver").
    """
    given = job.view["container"].get("logConfiguration") or {"logDriver": "awslogs"}
    options = dict(given.get("options") or {})
    if given["logDriver"] != "awslogs":
        return {"Type": given["logDriver"], "Config": options}, None
    name = str(job.view["jobDefinition"]).rsplit("/", 1)[-1].partition(":")[0]
    prefix = options.pop("awslogs-stream-prefix", name)
    stream = f"{prefix}/default/{task}"
    options.setdefault("awslogs-group", DEFAULT_LOG_GROUP)
    options.setdefault("awslogs-region", job.region)
    options["awslogs-stream"] = stream
    return {"Type": "awslogs", "Config": options}, stream


def log_group(job: Job) -> str:
    given = job.view["container"].get("logConfiguration") or {}
    return str((given.get("options") or {}).get("awslogs-group", DEFAULT_LOG_GROUP))


def refuse_unknown(call: Call, job_id: str) -> AwsError:
    return refused(call, f"Job {job_id} does not exist")
