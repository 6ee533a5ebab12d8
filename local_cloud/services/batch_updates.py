"""What follows from an infrastructure update: which AMI it brings, and what becomes of machines."""

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
)
from local_cloud.services.batch_model import Environment, environments

HEALTHY = "ComputeEnvironment Healthy"


def launches_after(
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


def ensure_cluster(call: Call, environment: Environment) -> None:
    """The ECS cluster that the environment's machines join."""
    name = str(environment.view["ecsClusterArn"]).rsplit("/", 1)[-1]
    held = call.moto({"clusters": [name]}, service="ecs", action="DescribeClusters")["clusters"]
    if not held:
        call.moto({"clusterName": name}, service="ecs", action="CreateCluster")


def hosts_of(cloud: Cloud, environment: Environment) -> list[Host]:
    return [one for one in hosts(cloud).values() if one.environment == environment.arn]


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
            if over or policy.get("terminateJobsOnUpdate"):
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
    name = str(environment.view["ecsClusterArn"]).rsplit("/", 1)[-1]
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
        own = [job for job in jobs(cloud).values() if job.queue == queue_arn]
        with cloud.store.lock:
            for job in own:
                end_job(job, end)
        if not any(job.status in PLACED for job in own):
            return True
        if cloud.stopping.wait(0.05):
            return False
