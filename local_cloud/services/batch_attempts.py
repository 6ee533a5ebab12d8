"""One attempt of a job on its machine, and what comes of it: success, another try, failure."""

from __future__ import annotations

import time
import uuid

from local_cloud.call import Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.jobs.orders import LONGEST_S, command_of, docker_container, reply, script
from local_cloud.machines.contract import Outcome
from local_cloud.services import batch_roles
from local_cloud.services.batch_hosts import is_gone
from local_cloud.services.batch_job_model import (
    Host,
    Job,
    cancel_event,
    hosts,
    milliseconds,
    stage,
    wake,
)
from local_cloud.services.batch_submit import DEFAULT_LOG_GROUP, log_group, log_options

TIMED_OUT = "Job attempt duration exceeded timeout"
EXITED = "Essential container in task exited"


def host_lost(host: Host) -> str:
    """The status reason of a job whose machine is gone (user guide, "Automated job retries")."""
    return f"Host EC2 (instance {host.instance_id}) terminated."


def begin(cloud: Cloud, job: Job, host: Host) -> None:
    """Put a RUNNABLE job on a machine (the store's lock is held), and run it in the background."""
    used = {
        gpu
        for other in cloud.store.table("batch jobs").values()
        if other.host == host.key
        for gpu in other.gpus
    }
    job.host = host.key
    job.gpus = [gpu for gpu in host.gpu_ids if gpu not in used][: job.needs.gpus]
    job.why_stopped, job.no_retry = None, False
    task = uuid.uuid4().hex
    container = job.view["container"]
    for name in ("exitCode", "reason", "logStreamName"):
        container.pop(name, None)
    container["containerInstanceArn"] = host.container_instance
    container["taskArn"] = f"arn:aws:ecs:{job.region}:{job.account}:task/{host.cluster}/{task}"
    job.view["status"] = "STARTING"
    job.view.pop("statusReason", None)
    stage(job, "placed")
    job.timeline.update(
        instance=host.instance_id, image_id=host.image_id, machine_launched=host.launched,
        machine_up=host.up, agent_up=host.agent_up,
        reused=host.agent_up < job.timeline.get("runnable", 0.0),
    )  # fmt: skip
    cancel_event(job.id).clear()
    cloud.background(f"batch job {job.id}", lambda: _run(cloud, job, host, task))


def _run(cloud: Cloud, job: Job, host: Host, task: str) -> None:
    try:
        ended = _carry_out(cloud, job, host, task)
    except AwsError as error:
        ended = {"failed": f"{error.code}: {error.message}"}
    except Exception as error:  # whatever it was, the job must not stay where it is
        cloud.say(f"batch job {job.id}: {type(error).__name__}: {error}")
        ended = {"failed": f"AgentError: {type(error).__name__}: {error}"}
    finally:
        batch_roles.revoke(cloud, task)
    if cloud.stopping.is_set():
        return  # the job is taken up again when the cloud starts again
    if is_gone(cloud, host) or (host.state == "GONE" and job.why_stopped is None):
        ended = {"lost": True}
    with cloud.store.lock:
        _end_attempt(job, host, ended)
    cloud.changed()
    wake.set()


def _carry_out(cloud: Cloud, job: Job, host: Host, task: str) -> Params:
    """Start, wait, stop: how it ended (`exit`, or `failed`)."""
    cancel, name = cancel_event(job.id), f"ecs-{job.name}-{task}"
    order = {"do": "start", "name": name, "container": _container(cloud, job, host, task)}
    outcome = cloud.machines.run(
        host.instance_id, script(order, command_id=f"batch-{task}", timeout_s=LONGEST_S), cancel
    )
    moment = time.time()
    nominal = {
        "image_ready": moment, "started": moment,
        "image": {"how": "nothing ran: recorded machines"},
    }  # fmt: skip
    if outcome.status == "Cancelled":  # it may have got as far as the container's start
        return reply(_stop(cloud, host, name, task), nominal={"exit": 137, "stopped": time.time()})
    said = reply(outcome, nominal=nominal)
    for key in ("image_ready", "image"):
        if key in said:
            job.timeline[key] = said[key]
    if "failed" in said:
        return said
    with cloud.store.lock:
        job.view["status"] = "RUNNING"
        job.view["startedAt"] = milliseconds(said.get("started", moment))
        stage(job, "started", said.get("started", moment))
    limit = (job.view.get("timeout") or {}).get("attemptDurationSeconds", LONGEST_S)
    waiting = script({"do": "wait", "name": name}, command_id=f"batch-{task}-wait", timeout_s=limit)
    outcome = cloud.machines.run(host.instance_id, waiting, cancel)
    if outcome.status in ("Cancelled", "TimedOut") and not is_gone(cloud, host):
        if outcome.status == "TimedOut":
            job.why_stopped, job.no_retry = TIMED_OUT, True
        outcome = _stop(cloud, host, name, task)
    return reply(outcome, nominal={"exit": 0, "stopped": time.time()})


def _stop(cloud: Cloud, host: Host, name: str, task: str) -> Outcome:
    stopping = script({"do": "stop", "name": name}, command_id=f"batch-{task}-stop")
    return cloud.machines.run(host.instance_id, stopping, cloud.stopping)


def _container(cloud: Cloud, job: Job, host: Host, task: str) -> Params:
    log, stream = log_options(job, task)
    if stream:
        job.view["container"]["logStreamName"] = stream
        _have_log(cloud, job, stream)
    asked = job.view["container"]
    queue = job.queue.rsplit("/", 1)[-1]
    return docker_container(
        asked,
        command=command_of(asked, job.view["parameters"]),
        job={
            "environment": {
                "AWS_BATCH_JOB_ID": job.id,
                "AWS_BATCH_JOB_ATTEMPT": str(len(job.view["attempts"]) + 1),
                "AWS_BATCH_JQ_NAME": queue,
                "AWS_BATCH_CE_NAME": host.environment.rsplit("/", 1)[-1],
                "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
                **batch_roles.grant(cloud, job, task),
            },
            "vcpus": job.needs.vcpus,
            "memory": job.needs.memory,
            "gpu_ids": job.gpus,
            "log": log,
            "labels": {
                "com.amazonaws.ecs.cluster": host.cluster,
                "com.amazonaws.ecs.container-name": "default",
                "com.amazonaws.ecs.task-arn": asked["taskArn"],
            },
        },
    )


def _have_log(cloud: Cloud, job: Job, stream: str) -> None:
    """Batch makes its own log group; a machine that only is recorded leaves an empty stream."""
    group = log_group(job)

    def ask(action: str, params: Params) -> None:
        try:
            cloud.moto.invoke("logs", action, params, region=job.region, account=job.account)
        except AwsError as error:
            if "AlreadyExists" not in error.code:
                raise

    if group == DEFAULT_LOG_GROUP:
        ask("CreateLogGroup", {"logGroupName": group})
    if not cloud.real:
        ask("CreateLogStream", {"logGroupName": group, "logStreamName": stream})


def _end_attempt(job: Job, host: Host, ended: Params) -> None:
    """Note how the attempt ended, and decide what follows."""
    stopped = ended.get("stopped") or time.time()
    stage(job, "stopped", stopped)
    container = job.view["container"]
    reason = ended.get("reason")
    if ended.get("lost"):
        status_reason = host_lost(host)
    elif "failed" in ended:
        status_reason, reason = "Task failed to start", ended["failed"]
    else:
        status_reason = EXITED
        container["exitCode"] = ended["exit"]
    if job.why_stopped is not None:
        status_reason = job.why_stopped
    if reason:
        container["reason"] = reason
    attempt: Params = {
        "container": {
            key: container[key]
            for key in ("containerInstanceArn", "taskArn", "exitCode", "reason", "logStreamName")
            if key in container
        } | {"networkInterfaces": []},
        "stoppedAt": milliseconds(stopped), "statusReason": status_reason,
    }  # fmt: skip
    if "started" in job.timeline:
        attempt["startedAt"] = milliseconds(job.timeline["started"])
    job.view["attempts"].append(attempt)
    job.host, job.gpus = None, []
    exit_code = None if ended.get("lost") or "failed" in ended else int(ended["exit"])
    if exit_code == 0 and job.why_stopped is None:
        finish_job(job, "SUCCEEDED", status_reason)
    elif not job.no_retry and tries_again(job.view, status_reason, reason, exit_code):
        job.view["status"] = "RUNNABLE"
        job.view["statusReason"] = status_reason
        job.timelines.append({"submitted": job.timelines[0]["submitted"], "runnable": time.time()})
    else:
        finish_job(job, "FAILED", status_reason)


def tries_again(
    view: Params, status_reason: str | None, reason: str | None, exit_code: int | None
) -> bool:
    """Whether a failed attempt is followed by another: the first condition that holds decides."""
    retry = view["retryStrategy"]
    if len(view["attempts"]) >= retry["attempts"]:
        return False
    said = {
        "onStatusReason": status_reason or "",
        "onReason": reason or "",
        "onExitCode": "" if exit_code is None else str(exit_code),
    }
    for condition in retry["evaluateOnExit"]:
        if all(matches(said[key], condition[key]) for key in said if condition.get(key)):
            return str(condition["action"]).upper() == "RETRY"
    return True


def matches(text: str, pattern: str) -> bool:
    """Batch's patterns: the whole text, or its start where the pattern ends with `*`."""
    if pattern.endswith("*"):
        return text.startswith(pattern.removesuffix("*"))
    return text == pattern


def finish_job(job: Job, status: str, reason: str) -> None:
    """The job's end (the store's lock is held)."""
    moment = time.time()
    job.view.update(status=status, statusReason=reason)
    job.view["stoppedAt"] = milliseconds(job.timeline.get("stopped", moment))


def take_back_lost(cloud: Cloud, job: Job) -> None:
    """End the attempt of a job that was on a machine when an earlier cloud ended."""
    host = hosts(cloud).get(job.host or "")
    if host is None:
        host = Host("", "", job.account, job.region, 0, "", job.needs)
    with cloud.store.lock:
        _end_attempt(job, host, {"lost": True})
