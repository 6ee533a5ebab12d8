"""Batch's environments, queues and launches take the time that a latency profile gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.clock import ManualClock
from local_cloud.latency import profile_of
from tests.local_cloud.batch.conftest import World, make_world
from tests.waiting import until


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as one:
        yield one


def test_environments_and_queues_change_when_their_time_has_come(world: World) -> None:
    cloud, batch = world.cloud, world.batch
    cloud.latency.clock = clock = ManualClock()
    cloud.latency.use(
        profile_of(
            {"environment_creating": 10, "environment_updating": 20, "environment_deleting": 30,
             "queue_changing": 5}
        )
    )  # fmt: skip

    def environment() -> str:
        found = batch.describe_compute_environments(computeEnvironments=["slow"])
        return next((str(one["status"]) for one in found["computeEnvironments"]), "gone")

    def queue() -> str:
        found = batch.describe_job_queues(jobQueues=["line"])
        return next((str(one["status"]) for one in found["jobQueues"]), "gone")

    def passes(seconds: float, look: Any, before: str, after: str) -> None:
        clock.advance(seconds - 1)
        assert look() == before
        clock.advance(2)
        until(lambda: look() == after)

    batch.create_compute_environment(
        computeEnvironmentName="slow", type="MANAGED", computeResources=world.resources()
    )
    passes(10, environment, "CREATING", "VALID")
    order = [{"order": 1, "computeEnvironment": "slow"}]
    batch.create_job_queue(jobQueueName="line", priority=1, computeEnvironmentOrder=order)
    passes(5, queue, "CREATING", "VALID")
    batch.update_compute_environment(computeEnvironment="slow", computeResources={"maxvCpus": 8})
    passes(20, environment, "UPDATING", "VALID")
    batch.update_job_queue(jobQueue="line", state="DISABLED")
    passes(5, queue, "UPDATING", "VALID")
    batch.delete_job_queue(jobQueue="line")
    passes(5, queue, "DELETING", "gone")
    batch.update_compute_environment(computeEnvironment="slow", state="DISABLED")
    passes(20, environment, "UPDATING", "VALID")
    batch.delete_compute_environment(computeEnvironment="slow")
    passes(30, environment, "DELETING", "gone")


def test_a_machine_is_launched_for_a_job_when_batch_has_scaled(world: World) -> None:
    world.cloud.latency.clock = clock = ManualClock()
    world.create("slow")
    world.batch.create_job_queue(
        jobQueueName="line", priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "slow"}],
    )  # fmt: skip
    until(lambda: world.batch.describe_job_queues()["jobQueues"][0]["status"] == "VALID")
    world.cloud.latency.use(profile_of({"batch_scaling": 60}))
    world.batch.register_job_definition(
        jobDefinitionName="work", type="container",
        containerProperties={
            "image": "busybox", "command": ["true"],
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"},
            ],
        },
    )  # fmt: skip
    job = world.batch.submit_job(jobName="one", jobQueue="line", jobDefinition="work")["jobId"]

    def status() -> str:
        return str(world.batch.describe_jobs(jobs=[job])["jobs"][0]["status"])

    until(lambda: status() == "RUNNABLE")
    clock.advance(50)
    assert world.ec2.describe_instances()["Reservations"] == []
    until(lambda: bool(world.cloud.store.table("batch hosts")))
    clock.advance(61)
    until(lambda: status() == "SUCCEEDED")
    assert len(world.ec2.describe_instances()["Reservations"]) == 1
