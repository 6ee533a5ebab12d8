"""Jobs come to their end whatever befalls the machines that were to run them; none is left over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.machines.contract import Outcome, Script
from local_cloud.services.batch_job_model import hosts
from tests.local_cloud.batch.agents import Work, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.local_cloud.samples import stop_clock
from tests.waiting import until

UP = ("pending", "running", "stopping", "stopped")


@pytest.fixture
def work() -> Iterator[Work]:
    with make_world() as world:
        yield set_up(world, type="EC2", allocationStrategy="BEST_FIT_PROGRESSIVE")


def fails_once(work: Work, at: str) -> None:
    """The machine's side of one step breaks in a way that nobody thought of."""
    answer = work.agent.answer
    broken: list[str] = []

    def break_first(instance_id: str, script: Script) -> Outcome:
        outcome = answer(instance_id, script)
        if work.agent.orders[-1]["do"] == at and not broken:
            broken.append(at)
            raise RuntimeError("unheard of")
        return outcome

    work.agent.machines.answer = break_first


def none_left(work: Work) -> list[Any]:
    """Wait until the environment has let all its machines go; what is up of any kind then."""
    work.world.cloud.batch.idle_s = 0.0
    until(lambda: not hosts(work.world.cloud))
    return work.machines(*UP)


def test_a_machine_that_breaks_while_it_comes_up_is_replaced(work: Work) -> None:
    fails_once(work, "hello")
    assert work.ended(work.submit())["status"] == "SUCCEEDED"
    assert none_left(work) == []


def test_a_job_whose_start_breaks_fails_and_says_why(work: Work) -> None:
    fails_once(work, "start")
    job = work.ended(work.submit())
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"] == "AgentError: RuntimeError: unheard of"


def test_a_machine_that_is_stopped_is_terminated_and_its_job_gets_another(work: Work) -> None:
    work.agent.hold.clear()
    job_id = work.submit(retryStrategy={"attempts": 2})
    first = work.machine_of(work.until(job_id, "RUNNING"))["InstanceId"]
    work.world.ec2.stop_instances(InstanceIds=[first])
    until(lambda: first in {one["InstanceId"] for one in work.machines("terminated")})
    work.agent.hold.set()
    job = work.ended(job_id)
    assert job["status"] == "SUCCEEDED"
    assert job["attempts"][0]["statusReason"] == f"Host EC2 (instance {first}) terminated."
    assert none_left(work) == []


def test_a_machine_on_its_way_at_an_update_is_let_go(work: Work) -> None:
    """Also where the update ends jobs at once: the old machine is not there yet to be ended."""
    cloud = work.world.cloud
    clock = stop_clock(cloud, batch_scaling=10)
    job_id = work.submit()

    def planned(generation: int) -> bool:
        return any(one.generation == generation for one in list(hosts(cloud).values()))

    until(lambda: planned(1))
    work.batch.update_compute_environment(
        computeEnvironment="ce",
        computeResources={"tags": {"of": "update"}},
        updatePolicy={"terminateJobsOnUpdate": True},
    )
    until(lambda: planned(2))
    clock.advance(11)
    assert work.ended(job_id)["status"] == "SUCCEEDED"
    assert none_left(work) == []
    assert work.world.settled("ce")["status"] == "VALID"


def test_minvcpus_can_be_raised_alone_and_lowered_again(work: Work) -> None:
    def update(least: int) -> None:
        work.batch.update_compute_environment(
            computeEnvironment="ce", computeResources={"minvCpus": least}
        )

    work.world.cloud.batch.idle_s = 0.0
    update(8)
    until(lambda: len(work.machines()) == 2)
    work.world.settled("ce")
    update(4)
    until(lambda: len(work.machines()) == 1)
    work.world.settled("ce")
    update(0)
    assert none_left(work) == []
