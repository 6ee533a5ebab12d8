"""Which machine a waiting job gets: one that is up, one that is coming, or a new one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from local_cloud.call import Params
from local_cloud.cloud import Cloud
from local_cloud.services.batch_attempts import begin
from local_cloud.services.batch_job_model import (
    PLACED,
    Host,
    Job,
    Needs,
    hosts,
    jobs,
    offers_of,
    wanted_types,
)
from local_cloud.services.batch_model import Environment, Queue, environments, queues

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
UNDETERMINED = "UNDETERMINED - Batch job is blocked, root cause is undetermined."


@dataclass
class Pauses:
    """Until when (by the monotonic clock) an environment, or one type in it, is not launched."""

    until: dict[str, float] = field(default_factory=dict)

    def set(self, environment: Environment, seconds: float, *, kind: str = "") -> None:
        self.until[f"{environment.arn} {kind}"] = time.monotonic() + seconds

    def holds(self, environment: Environment, *, kind: str = "") -> bool:
        return self.until.get(f"{environment.arn} {kind}", 0.0) > time.monotonic()


@dataclass
class Placing:
    """One look at all that waits. Hold the store's lock; launch `launches` after it."""

    cloud: Cloud
    pauses: Pauses
    launches: list[tuple[Environment, Host]] = field(default_factory=list)
    #: What is taken of each machine, by its key: by jobs on it, and by jobs that wait for it.
    taken: dict[str, list[Needs]] = field(default_factory=dict)
    #: The type that fits needs in an environment, found once for all jobs that need the same.
    _types: dict[tuple[str, Needs], str | None] = field(default_factory=dict)

    def place(self) -> None:
        """Give RUNNABLE jobs machines, the most urgent queue first.

        A job waits for a machine that is coming up by taking its place there in every look.
        """
        for job in jobs(self.cloud).values():
            if job.host and job.status in PLACED:
                self.taken.setdefault(job.host, []).append(job.needs)
        order = sorted(queues(self.cloud).values(), key=lambda queue: -int(queue.view["priority"]))
        for queue in order:
            for job in jobs(self.cloud).values():
                if job.status == "RUNNABLE" and job.queue == queue.arn:
                    self._place_job(queue, job)

    def _place_job(self, queue: Queue, job: Job) -> None:
        attached = _environments_of(self.cloud, queue)
        if all(one.status == "INVALID" for one in attached):
            job.view["statusReason"] = INVALID
        elif all(one.view["state"] == "DISABLED" for one in attached):
            job.view["statusReason"] = UNDETERMINED
        usable = [one for one in attached if _takes_jobs(one)]
        for environment in usable:
            for host in current_hosts(self.cloud, environment):
                if _has_room(host, job.needs, self.taken.get(host.key, [])):
                    self.taken.setdefault(host.key, []).append(job.needs)
                    if host.state == "READY":
                        begin(self.cloud, job, host)
                    return
        if not any(self._launch(one, job.needs) for one in usable):
            self._say_why(usable, job)

    def _launch(self, environment: Environment, needs: Needs) -> bool:
        """Plan a machine for the needs where the environment may have one more now."""
        found = self._new_host(environment, needs)
        if found is None or self.pauses.holds(environment):
            return False
        if not _may_grow(self.cloud, environment, found.offers.vcpus):
            return False
        self._plan(environment, found)
        self.taken.setdefault(found.key, []).append(needs)
        return True

    def _new_host(self, environment: Environment, needs: Needs) -> Host | None:
        """A machine still to be launched, of the smallest type that has room."""
        asked = (environment.arn, needs)
        if asked not in self._types:
            self._types[asked] = _smallest_type(environment, needs, self.pauses)
        name = self._types[asked]
        if name is None:
            return None
        return Host(
            environment.arn, environment.cluster, environment.account, environment.region,
            environment.generation, name, offers_of(name),
        )  # fmt: skip

    def _plan(self, environment: Environment, host: Host) -> None:
        hosts(self.cloud)[host.key] = host
        self.launches.append((environment, host))

    def _say_why(self, usable: list[Environment], job: Job) -> None:
        """The reason of a job that no machine of its queue's environments could ever hold."""
        if not usable:
            return
        found = [(one, self._new_host(one, job.needs)) for one in usable]
        fitting = [(one, host) for one, host in found if host is not None]
        if job.needs.vcpus > max(one.view["computeResources"]["maxvCpus"] for one in usable):
            job.view["statusReason"] = TOO_SMALL
        elif not fitting:
            job.view["statusReason"] = NO_FIT
        elif not any(_has_size(one, 0, host.offers.vcpus) for one, host in fitting):
            job.view["statusReason"] = TOO_SMALL

    def keep_least(self) -> None:
        """Plan what environments' minvCpus ask for."""
        for environment in environments(self.cloud).values():
            resources = environment.view.get("computeResources") or {}
            if not resources.get("minvCpus") or not _takes_jobs(environment):
                continue
            if self.pauses.holds(environment):
                continue
            if vcpus_of(self.cloud, environment) < resources["minvCpus"]:
                found = self._new_host(environment, Needs(1, 1, 0))
                if found is not None:
                    self._plan(environment, found)


def _environments_of(cloud: Cloud, queue: Queue) -> list[Environment]:
    """Those of a queue, in its order."""
    known = {one.arn: one for one in environments(cloud).values()}
    wanted = sorted(queue.view["computeEnvironmentOrder"], key=lambda one: int(one["order"]))
    named = [one["computeEnvironment"] for one in wanted]
    return [known[arn] for arn in named if arn in known]


def _takes_jobs(environment: Environment) -> bool:
    return (
        environment.view["type"] == "MANAGED"
        and environment.view["state"] == "ENABLED"
        and environment.status in ("VALID", "UPDATING")
        and environment.unsettled is None
    )


def current_hosts(cloud: Cloud, environment: Environment) -> list[Host]:
    """The machines of an environment's current generation, those that are up first."""
    found = [
        one
        for one in list(hosts(cloud).values())
        if one.environment == environment.arn
        and one.state in ("READY", "LAUNCHING")
        and one.generation == environment.generation
    ]
    return sorted(found, key=lambda one: one.state != "READY")


def vcpus_of(cloud: Cloud, environment: Environment) -> int:
    """Of its current machines together."""
    return int(sum(one.offers.vcpus for one in current_hosts(cloud, environment)))


def _has_room(host: Host, needs: Needs, taken: list[Needs]) -> bool:
    gpus = len(host.gpu_ids) if host.state == "READY" else host.offers.gpus
    return (
        sum(one.vcpus for one in taken) + needs.vcpus <= host.offers.vcpus
        and sum(one.memory for one in taken) + needs.memory <= host.offers.memory
        and sum(one.gpus for one in taken) + needs.gpus <= gpus
    )


def _smallest_type(environment: Environment, needs: Needs, pauses: Pauses) -> str | None:
    """The smallest type that has room; those without capacity at the moment come last."""
    resources: Params = environment.view["computeResources"]
    fitting: list[tuple[bool, int, float, int, str]] = []
    for name in wanted_types(resources):
        offers = offers_of(name)
        if (
            offers.vcpus >= needs.vcpus
            and offers.memory >= needs.memory
            and offers.gpus >= needs.gpus
        ):
            short = pauses.holds(environment, kind=name)
            fitting.append((short, offers.gpus, offers.vcpus, offers.memory, name))
    if not fitting or needs.vcpus > resources["maxvCpus"]:
        return None
    return min(fitting)[-1]


def _may_grow(cloud: Cloud, environment: Environment, by: float) -> bool:
    return _has_size(environment, vcpus_of(cloud, environment), by)


def _has_size(environment: Environment, now: int, by: float) -> bool:
    """Up to maxvCpus; but for BEST_FIT the last machine may go beyond it (user guide)."""
    resources = environment.view["computeResources"]
    if resources.get("allocationStrategy", "BEST_FIT") == "BEST_FIT":
        return bool(now + by <= resources["maxvCpus"])
    return bool(now < resources["maxvCpus"])
