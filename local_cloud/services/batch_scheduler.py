"""Batch's scheduler: moves jobs on, finds or launches machines for them, lets idle ones go."""

from __future__ import annotations

import time
from functools import partial

from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.lifecycle import at_start, at_stop
from local_cloud.services import batch_hosts
from local_cloud.services.batch_attempts import begin, finish_job, take_back_lost
from local_cloud.services.batch_hosts import NoCapacityError
from local_cloud.services.batch_job_model import (
    ENDED,
    PLACED,
    Host,
    Job,
    Needs,
    cancel_event,
    hosts,
    jobs,
    offers_of,
    wake,
    wanted_types,
)
from local_cloud.services.batch_model import Environment, Queue, environments, queues
from local_cloud.services.batch_rules import UnfitError
from local_cloud.services.batch_updates import advance_updates
from local_cloud.services.ec2_launch import get_type

#: How often to look while something may change by itself, in seconds.
LOOK_S = 0.1
#: How long a failed launch keeps its environment from launching again, in seconds.
PAUSE_S = 2.0
#: Why a job waits (user guide, "Jobs stuck in a RUNNABLE status").
NO_FIT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is"
    " higher than that can be met by the CE(s) attached to the job queue."
)
TOO_SMALL = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot"
    " meet the CPU requirement of the job."
)

INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."


@at_start
def start(cloud: Cloud) -> None:
    """Take up what an earlier cloud left, then schedule until the cloud stops."""
    for job in jobs(cloud).values():
        if job.status in PLACED:
            take_back_lost(cloud, job)
    for host in hosts(cloud).values():
        if host.state == "READY":
            host.state = "LAUNCHING"
        if host.state == "LAUNCHING":
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
        if not batch_hosts.bring_up(cloud, host) and not cloud.stopping.is_set():
            batch_hosts.end_host(cloud, host)
        wake.set()

    cloud.background(f"batch machine {host.instance_id}", work)


def _schedule(cloud: Cloud) -> None:
    pauses: dict[str, float] = {}
    while not cloud.stopping.is_set():
        wake.clear()
        try:
            busy = one_round(cloud, pauses)
        except Exception as error:  # a job that cannot be placed must not keep all others waiting
            cloud.say(f"Batch's scheduler: {type(error).__name__}: {error}")
            cloud.stopping.wait(1.0)
            busy = True
        wake.wait(LOOK_S if busy else 5.0)


def one_round(cloud: Cloud, pauses: dict[str, float]) -> bool:
    """Look at everything once; whether something may change without being told."""
    for host in list(hosts(cloud).values()):
        if host.state != "GONE" and batch_hosts.is_gone(cloud, host):
            host.state = "GONE"
    with cloud.store.lock:
        for job in list(jobs(cloud).values()):
            _advance(cloud, job)
    launches: list[tuple[Environment, Host]] = []
    with cloud.store.lock:
        reserved = _place(cloud, launches, pauses)
        _keep_least(cloud, launches, pauses)
    for environment, host in launches:
        cloud.background("batch launch", partial(_launch, cloud, environment, host, pauses))
    _let_idle_go(cloud, reserved)
    advance_updates(cloud)
    batch_hosts.forget_gone(cloud)
    waiting = any(job.status not in ENDED for job in jobs(cloud).values())
    return waiting or bool(hosts(cloud)) or _is_changing(cloud)


def _is_changing(cloud: Cloud) -> bool:
    return any(one.status in ("UPDATING", "DELETING") for one in environments(cloud).values())


def _advance(cloud: Cloud, job: Job) -> None:
    """SUBMITTED, PENDING, RUNNABLE, by the jobs it depends on."""
    if job.status == "SUBMITTED":
        job.view["status"] = "PENDING"
    if job.status == "PENDING":
        before = [jobs(cloud).get(one["jobId"]) for one in job.view["dependsOn"]]
        if any(one is None or one.status == "FAILED" for one in before):
            finish_job(job, "FAILED", "Dependent Job failed")
        elif all(one is not None and one.status == "SUCCEEDED" for one in before):
            job.view["status"] = "RUNNABLE"
            job.timeline["runnable"] = time.time()


def _place(
    cloud: Cloud, launches: list[tuple[Environment, Host]], pauses: dict[str, float]
) -> set[str]:
    """Give RUNNABLE jobs machines, the most urgent queue first; the machines that are spoken for.

    A job waits for a machine that is coming up by taking its place there in every round.
    """
    spoken: dict[str, list[Needs]] = {}
    for job in jobs(cloud).values():
        if job.host and job.status in PLACED:
            spoken.setdefault(job.host, []).append(job.needs)
    order = sorted(queues(cloud).values(), key=lambda queue: -int(queue.view["priority"]))
    for queue in order:
        for job in jobs(cloud).values():
            if job.status == "RUNNABLE" and job.queue == queue.arn:
                _place_job(cloud, queue, job, spoken, launches, pauses)
    return set(spoken)


def _place_job(
    cloud: Cloud, queue: Queue, job: Job, spoken: dict[str, list[Needs]],
    launches: list[tuple[Environment, Host]], pauses: dict[str, float],
) -> None:  # fmt: skip
    attached = _environments_of(cloud, queue)
    if all(one.status == "INVALID" for one in attached):
        job.view["statusReason"] = INVALID
    usable = [one for one in attached if _takes_jobs(one)]
    for environment in usable:
        for host in _hosts_of(cloud, environment):
            if _has_room(host, job.needs, spoken.get(host.key, [])):
                spoken.setdefault(host.key, []).append(job.needs)
                if host.state == "READY":
                    begin(cloud, job, host)
                return
    fits = False
    for environment in usable:
        found = _smallest_type(cloud, environment, job.needs, pauses)
        fits = fits or found is not None
        if found is None or pauses.get(environment.arn, 0) > time.monotonic():
            continue
        if not _may_grow(cloud, environment, found.offers.vcpus):
            continue
        hosts(cloud)[found.key] = found
        spoken.setdefault(found.key, []).append(job.needs)
        launches.append((environment, found))
        return
    if usable and not fits:
        biggest = max(one.view["computeResources"]["maxvCpus"] for one in usable)
        job.view["statusReason"] = TOO_SMALL if job.needs.vcpus > biggest else NO_FIT


def _environments_of(cloud: Cloud, queue: Queue) -> list[Environment]:
    """Those of a queue, in its order."""
    known = {one.arn: one for one in environments(cloud).values()}
    wanted = sorted(queue.view["computeEnvironmentOrder"], key=lambda one: int(one["order"]))
    return [
        known[one["computeEnvironment"]] for one in wanted if one["computeEnvironment"] in known
    ]


def _takes_jobs(environment: Environment) -> bool:
    return (
        environment.view["type"] == "MANAGED"
        and environment.view["state"] == "ENABLED"
        and environment.status in ("VALID", "UPDATING")
        and environment.unsettled is None
    )


def _hosts_of(cloud: Cloud, environment: Environment) -> list[Host]:
    """The machines of its current generation, those that are up first."""
    found = [
        one
        for one in hosts(cloud).values()
        if one.environment == environment.arn
        and one.state in ("READY", "LAUNCHING")
        and one.generation == environment.generation
    ]
    return sorted(found, key=lambda one: one.state != "READY")


def _has_room(host: Host, needs: Needs, taken: list[Needs]) -> bool:
    gpus = len(host.gpu_ids) if host.state == "READY" else host.offers.gpus
    return (
        sum(one.vcpus for one in taken) + needs.vcpus <= host.offers.vcpus
        and sum(one.memory for one in taken) + needs.memory <= host.offers.memory
        and sum(one.gpus for one in taken) + needs.gpus <= gpus
    )


def _smallest_type(
    cloud: Cloud, environment: Environment, needs: Needs, pauses: dict[str, float]
) -> Host | None:
    """A machine still to be launched, of the smallest type that has room and is not short."""
    call = batch_hosts.own_call(cloud, environment.account, environment.region)
    resources = environment.view["computeResources"]
    fitting: list[tuple[bool, int, float, int, str, Needs]] = []
    for name in wanted_types(resources):
        offers = offers_of(get_type(call, name))
        if (
            offers.vcpus >= needs.vcpus
            and offers.memory >= needs.memory
            and offers.gpus >= needs.gpus
        ):
            short = pauses.get(f"{environment.arn} {name}", 0) > time.monotonic()
            fitting.append((short, offers.gpus, offers.vcpus, offers.memory, name, offers))
    if not fitting or min(one[2] for one in fitting) > resources["maxvCpus"] + needs.vcpus:
        return None
    *_, name, offers = min(fitting, key=lambda one: one[:5])
    return Host(
        environment.arn, str(environment.view["ecsClusterArn"]).rsplit("/", 1)[-1],
        environment.account, environment.region, environment.generation, name, offers,
    )  # fmt: skip


def _vcpus(cloud: Cloud, environment: Environment) -> float:
    return sum(one.offers.vcpus for one in _hosts_of(cloud, environment))


def _may_grow(cloud: Cloud, environment: Environment, by: float) -> bool:
    """Up to maxvCpus; but for BEST_FIT the last machine may go beyond it (user guide)."""
    resources = environment.view["computeResources"]
    now, most = _vcpus(cloud, environment), resources["maxvCpus"]
    if resources.get("allocationStrategy", "BEST_FIT") == "BEST_FIT":
        return bool(now + by <= most)
    return bool(now < most)


def _keep_least(
    cloud: Cloud, launches: list[tuple[Environment, Host]], pauses: dict[str, float]
) -> None:
    """Launch what an environment's minvCpus asks for."""
    for environment in environments(cloud).values():
        resources = environment.view.get("computeResources") or {}
        usable = environment.view["state"] == "ENABLED" and environment.status == "VALID"
        if not usable or not resources.get("minvCpus"):
            continue
        if pauses.get(environment.arn, 0) > time.monotonic():
            continue
        if _vcpus(cloud, environment) < resources["minvCpus"]:
            found = _smallest_type(cloud, environment, Needs(1, 1, 0), pauses)
            if found is not None:
                hosts(cloud)[found.key] = found
                launches.append((environment, found))


def _launch(cloud: Cloud, environment: Environment, host: Host, pauses: dict[str, float]) -> None:
    if cloud.pause(cloud.latency.due("batch_scaling")):
        return
    try:
        batch_hosts.launch(cloud, environment, host)
    except UnfitError as error:
        with cloud.store.lock:
            hosts(cloud).pop(host.key, None)
            if host.generation == environment.generation and environment.unsettled is None:
                environment.view.update(status="INVALID", statusReason=str(error))
    except (NoCapacityError, AwsError) as error:
        pauses[environment.arn] = time.monotonic() + PAUSE_S
        with cloud.store.lock:
            hosts(cloud).pop(host.key, None)
            if isinstance(error, NoCapacityError):
                pauses[f"{environment.arn} {host.type}"] = time.monotonic() + 30 * PAUSE_S
                _say_short(cloud, environment, host.type)
    else:
        follow(cloud, host)
    wake.set()


def _say_short(cloud: Cloud, environment: Environment, kind: str) -> None:
    """The reason of jobs that wait for capacity (user guide, "Jobs stuck in RUNNABLE")."""
    said = (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested"
        f" for instance type [{kind}]"
    )
    for queue in queues(cloud).values():
        orders = queue.view["computeEnvironmentOrder"]
        if any(one["computeEnvironment"] == environment.arn for one in orders):
            for job in jobs(cloud).values():
                if job.queue == queue.arn and job.status == "RUNNABLE":
                    job.view["statusReason"] = said


def _let_idle_go(cloud: Cloud, spoken: set[str]) -> None:
    """Terminate machines without a job: old ones at once, current ones when idle for long."""
    known = {one.arn: one for one in environments(cloud).values()}
    for host in list(hosts(cloud).values()):
        if host.state == "GONE" or host.key in spoken:
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
            if _vcpus(cloud, environment) - host.offers.vcpus >= least:
                batch_hosts.end_host(cloud, host)
