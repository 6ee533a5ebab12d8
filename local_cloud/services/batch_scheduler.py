"""Batch's scheduler: moves jobs on, has machines launched for them, lets idle ones go."""

from __future__ import annotations

import time
from functools import partial

from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.faults import DroppedError
from local_cloud.lifecycle import at_start, at_stop
from local_cloud.services import batch_hosts
from local_cloud.services.batch_attempts import finish_job, take_back_lost
from local_cloud.services.batch_hosts import NoCapacityError
from local_cloud.services.batch_job_model import (
    ENDED,
    PLACED,
    Host,
    Job,
    cancel_event,
    hosts,
    jobs,
    wake,
)
from local_cloud.services.batch_model import Environment, environments, queues
from local_cloud.services.batch_placing import UNDETERMINED, Pauses, Placing, vcpus_of
from local_cloud.services.batch_rules import UnfitError
from local_cloud.services.batch_updates import advance_updates

#: How often to look while something may change by itself, in seconds.
LOOK_S = 0.1
#: How long a failed launch keeps its environment from launching again, in seconds; a type without
#: capacity is the last choice for longer.
PAUSE_S = 2.0
SHORT_PAUSE_S = 60.0
#: Why a job waits (user guide, "Jobs stuck in a RUNNABLE status").
SHORT = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for"
    " instance type [{}]"
)


@at_start
def start(cloud: Cloud) -> None:
    """Take up what an earlier cloud left, then schedule until the cloud stops."""
    for job in jobs(cloud).values():
        if job.status in PLACED:
            take_back_lost(cloud, job)
    for host in list(hosts(cloud).values()):  # also what a kill kept from being terminated
        host.state = "LAUNCHING"
        follow(cloud, host)
    wake.set()
    cloud.background("batch scheduler", partial(_schedule, cloud))


@at_stop
def stop(cloud: Cloud) -> None:
    for job in jobs(cloud).values():
        if job.status in PLACED:
            cancel_event(job.id).set()
    wake.set()


def follow(cloud: Cloud, host: Host) -> None:
    """Bring a launched machine up in the background."""

    def work() -> None:
        try:
            is_up = batch_hosts.bring_up(cloud, host)
        except Exception as error:  # jobs wait for this machine: they need to know it does not come
            cloud.say(f"batch machine {host.instance_id}: {type(error).__name__}: {error}")
            is_up = False
        if not is_up and not cloud.stopping.is_set():
            batch_hosts.end_host(cloud, host)
        wake.set()

    cloud.background(f"batch machine {host.instance_id}", work)


def _schedule(cloud: Cloud) -> None:
    pauses = Pauses()
    while not cloud.stopping.is_set():
        wake.clear()
        try:
            busy = one_round(cloud, pauses)
        except Exception as error:  # a job that cannot be placed must not keep all others waiting
            cloud.say(f"Batch's scheduler: {type(error).__name__}: {error}")
            cloud.stopping.wait(1.0)
            busy = True
        wake.wait(LOOK_S if busy else 5.0)


def one_round(cloud: Cloud, pauses: Pauses) -> bool:
    """Look at everything once; whether something may change without being told."""
    for host in list(hosts(cloud).values()):
        if host.state != "GONE" and batch_hosts.is_gone(cloud, host):
            batch_hosts.end_host(cloud, host)  # one that was stopped is of no use either
    placing, began = Placing(cloud, pauses), cloud.latency.clock.now()
    with cloud.store.lock:
        for job in list(jobs(cloud).values()):
            _advance(cloud, job)
        _cancel_stuck(cloud)
        placing.place()
        placing.keep_least()
    for environment, host in placing.launches:
        due = began + cloud.latency.draw("batch_scaling")
        cloud.background("batch launch", partial(_launch, cloud, environment, host, pauses, due))
    _let_idle_go(cloud, set(placing.taken))
    advance_updates(cloud)
    batch_hosts.forget_gone(cloud)
    waiting = any(job.status not in ENDED for job in list(jobs(cloud).values()))
    return waiting or bool(hosts(cloud)) or _is_changing(cloud)


def _is_changing(cloud: Cloud) -> bool:
    known = list(environments(cloud).values())
    return any(one.status in ("UPDATING", "DELETING") for one in known)


def _advance(cloud: Cloud, job: Job) -> None:
    """SUBMITTED, PENDING, RUNNABLE, by the jobs it depends on."""
    if job.status == "SUBMITTED":
        job.view["status"] = "PENDING"
    if job.status == "PENDING":
        before = [jobs(cloud).get(one["jobId"]) for one in job.view["dependsOn"]]
        if job.view["isCancelled"]:
            if all(one is None or one.status in ENDED for one in before):
                finish_job(job, "FAILED", job.why_stopped or "")
        elif any(one is None or one.status == "FAILED" for one in before):
            finish_job(job, "FAILED", "Dependent Job failed")
        elif all(one is not None and one.status == "SUCCEEDED" for one in before):
            job.view["status"] = "RUNNABLE"
            job.timeline["runnable"] = time.time()


def _cancel_stuck(cloud: Cloud) -> None:
    """What queues' `jobStateTimeLimitActions` say: end jobs that wait too long for one reason."""
    limits = {one.arn: one.view["jobStateTimeLimitActions"] for one in queues(cloud).values()}
    for job in jobs(cloud).values():
        reason = str(job.view.get("statusReason", "")).partition(" - ")[0]
        for limit in limits.get(job.queue, []) if job.status == "RUNNABLE" else []:
            waited = time.time() - job.timeline["runnable"]
            if limit["reason"] == reason and waited > limit["maxTimeSeconds"]:
                said = f"Canceled by JobStateTimeLimit action due to reason: {reason}"
                finish_job(job, "FAILED", said)
                break


def _launch(cloud: Cloud, environment: Environment, host: Host, pauses: Pauses, due: float) -> None:
    if cloud.pause(due):
        return
    try:
        batch_hosts.launch(cloud, environment, host)
    except UnfitError as error:
        with cloud.store.lock:
            hosts(cloud).pop(host.key, None)
            if host.generation == environment.generation and environment.unsettled is None:
                environment.view.update(status="INVALID", statusReason=str(error))
    except Exception as error:
        if not isinstance(error, (NoCapacityError, AwsError, DroppedError)):
            cloud.say(f"Batch's launch of a machine: {type(error).__name__}: {error}")
        pauses.set(environment, PAUSE_S)
        if host.instance_id:
            batch_hosts.end_host(cloud, host)
        with cloud.store.lock:
            if not host.instance_id:
                hosts(cloud).pop(host.key, None)
            if isinstance(error, NoCapacityError):
                pauses.set(environment, SHORT_PAUSE_S, kind=host.type)
                _say_blocked(cloud, environment, SHORT.format(host.type))
            else:
                _say_blocked(cloud, environment, UNDETERMINED)
    else:
        follow(cloud, host)
    wake.set()


def _say_blocked(cloud: Cloud, environment: Environment, said: str) -> None:
    """Give the reason to the jobs that wait for an environment."""
    for queue in queues(cloud).values():
        orders = queue.view["computeEnvironmentOrder"]
        if any(one["computeEnvironment"] == environment.arn for one in orders):
            for job in jobs(cloud).values():
                if job.queue == queue.arn and job.status == "RUNNABLE":
                    job.view["statusReason"] = said


def _let_idle_go(cloud: Cloud, taken: set[str]) -> None:
    """Terminate machines without a job: old ones at once, current ones when idle for long."""
    known = {one.arn: one for one in list(environments(cloud).values())}
    for host in list(hosts(cloud).values()):
        if host.state == "GONE" or host.key in taken:
            host.idle_since = time.time()
            continue
        environment = known.get(host.environment)
        if (
            environment is None
            or environment.status == "DELETING"
            or host.generation != environment.generation
        ):
            if host.instance_id:
                batch_hosts.end_host(cloud, host)
        elif host.state == "READY" and time.time() - host.idle_since > cloud.batch.idle_s:
            least = (environment.view.get("computeResources") or {}).get("minvCpus", 0)
            if vcpus_of(cloud, environment) - host.offers.vcpus >= least:
                batch_hosts.end_host(cloud, host)
