"""What follows from a create or an update: which AMI it brings, and what becomes of machines."""

from __future__ import annotations

import time

from local_cloud.batch_settings import AmiReading
from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.services import batch_hosts
from local_cloud.services.batch_job_model import (
    PLACED,
    Host,
    hosts,
    jobs,
    wake,
)
from local_cloud.services.batch_model import Environment, environments
from local_cloud.services.batch_rules import UnfitError, check_fit

HEALTHY = "ComputeEnvironment Healthy"


def _launches_after(
    before: Params, after: Params, resources: Params, *, latest: bool, reading: AmiReading
) -> Params:
    """What machines are launched with after an infrastructure update.

    Read strictly, an AMI that comes from the launch template stays the one of the first launch
    until `latest` (`updateToLatestImageVersion`) is asked for.
    """
    named_by_environment = resources.get("imageId") or any(
        one.get("imageIdOverride") for one in resources.get("ec2Configuration") or []
    )
    if reading == "strict" and before.get("imageIds") and not named_by_environment and not latest:
        return after | {"imageIds": before["imageIds"]}
    return after


def settle(call: Call, environment: Environment) -> None:
    """In the background: VALID, or INVALID with the reason when its surroundings do not fit.

    With `replace` its machines are of an older generation from now on, and the environment stays
    UPDATING until they are gone.
    """
    asked = environment.unsettled or {}
    creating = environment.status == "CREATING"
    due = call.cloud.latency.due("environment_creating" if creating else "environment_updating")

    def job() -> None:
        if call.cloud.pause(due):
            return  # the next start goes on
        reason, status, launches = HEALTHY, "VALID", environment.launches
        resources = environment.view.get("computeResources") or {}
        try:
            if asked.get("look"):
                found = check_fit(call, environment.view)
                launches = _launches_after(
                    launches, found, resources,
                    latest=asked.get("latest", False), reading=call.cloud.batch.ami_reading,
                )  # fmt: skip
            if resources:
                _ensure_cluster(call, environment)
        except UnfitError as unfit:
            status, reason = "INVALID", str(unfit)
        except Exception as error:  # it must not stay as it is for ever
            call.cloud.say(f"environment {environment.name}: {type(error).__name__}: {error}")
            status, reason = "INVALID", f"INTERNAL_ERROR - {error}"
        with call.cloud.store.lock:
            environment.launches, environment.unsettled = launches, None
            if asked.get("replace") and status == "VALID":
                environment.generation += 1
                environment.updating_since = time.time()
            else:
                environment.view.update(status=status, statusReason=reason)
        wake.set()

    call.cloud.background(f"batch environment {environment.name}", job)


def _ensure_cluster(call: Call, environment: Environment) -> None:
    """The ECS cluster that the environment's machines join."""
    name = environment.cluster
    held = call.moto({"clusters": [name]}, service="ecs", action="DescribeClusters")["clusters"]
    if not held:
        call.moto({"clusterName": name}, service="ecs", action="CreateCluster")


def hosts_of(cloud: Cloud, environment: Environment) -> list[Host]:
    return [one for one in list(hosts(cloud).values()) if one.environment == environment.arn]


def advance_updates(cloud: Cloud) -> None:
    """Let old machines go as the update policy says; without any, the environment is VALID again.

    `terminateJobsOnUpdate` ends them at once, else jobs get `jobExecutionTimeoutMinutes` from the
    update's start; what is still running then loses its machine, and is retried if its strategy
    says so.
    """
    for environment in list(environments(cloud).values()):
        if environment.updating_since is None:
            continue
        policy = environment.view.get("updatePolicy") or {}
        minutes = policy.get("jobExecutionTimeoutMinutes", 30)
        over = time.time() - environment.updating_since > minutes * cloud.batch.minute_s
        old = [
            one for one in hosts_of(cloud, environment) if one.generation != environment.generation
        ]
        for host in old:
            # One that is still to be launched would be a machine that nobody knows.
            if host.instance_id and (over or policy.get("terminateJobsOnUpdate")):
                batch_hosts.end_host(cloud, host)
        with cloud.store.lock:
            if old or environment.unsettled is not None:
                continue
            environment.updating_since = None
            if environment.status == "UPDATING":
                environment.view.update(status="VALID", statusReason=HEALTHY)
            cloud.changed()


def end_machines(cloud: Cloud, environment: Environment) -> bool:
    """Terminate all machines of an environment; False when the cloud stops before they are gone."""
    while hosts_of(cloud, environment):
        for host in hosts_of(cloud, environment):
            if host.instance_id:
                batch_hosts.end_host(cloud, host)
        batch_hosts.forget_gone(cloud)
        if cloud.stopping.wait(0.05):
            return False
    name = environment.cluster
    call = batch_hosts.own_call(cloud, environment.account, environment.region)
    try:
        call.moto({"cluster": name}, service="ecs", action="DeleteCluster")
    except AwsError as error:
        if "ClusterNotFound" not in error.code:
            raise
    return True


def end_jobs(cloud: Cloud, queue_arn: str, end: str) -> bool:
    """End every job of a queue that is deleted; False when the cloud stops before that."""
    from local_cloud.services.batch_jobs import end_job

    while True:
        own = [job for job in list(jobs(cloud).values()) if job.queue == queue_arn]
        with cloud.store.lock:
            for job in own:
                end_job(job, end)
        if not any(job.status in PLACED for job in own):
            return True
        if cloud.stopping.wait(0.05):
            return False
