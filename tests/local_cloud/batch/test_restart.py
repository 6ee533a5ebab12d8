"""Batch's records live with the cloud's state folder, and what was under way is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.cloud import Cloud
from local_cloud.machines.recorded import RecordedMachines
from local_cloud.services.batch_job_model import hosts, jobs
from local_cloud.services.batch_model import environments, queues
from local_cloud.services.ec2_model import instances
from tests.local_cloud.batch.agents import set_up
from tests.local_cloud.batch.conftest import make_world
from tests.local_cloud.conftest import local_cloud
from tests.waiting import until

KEY = ("123456789012", "ap-northeast-2", "kept")


def client(cloud: Cloud) -> Any:
    session = boto3.Session("local", "local", region_name=cloud.region)
    return session.client("batch", endpoint_url=cloud.endpoint)


def test_what_was_under_way_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        batch.create_compute_environment(computeEnvironmentName="kept", type="UNMANAGED")
        while environments(cloud)[KEY].status != "VALID":
            batch.describe_compute_environments(computeEnvironments=["kept"])
        batch.create_job_queue(
            jobQueueName="kept",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "kept"}],
        )
        while queues(cloud)[KEY].view["status"] != "VALID":
            batch.describe_job_queues(jobQueues=["kept"])
        monkeypatch.setattr(cloud, "background", lambda _name, _job: None)  # as if killed here
        batch.update_job_queue(jobQueue="kept", state="DISABLED")
        batch.update_compute_environment(computeEnvironment="kept", state="DISABLED")
        assert environments(cloud)[KEY].status == "UPDATING"
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        while environments(cloud)[KEY].status != "VALID":
            batch.describe_compute_environments(computeEnvironments=["kept"])
        while queues(cloud)[KEY].view["status"] != "VALID":
            batch.describe_job_queues(jobQueues=["kept"])
        monkeypatch.setattr(cloud, "background", lambda _name, _job: None)
        batch.delete_job_queue(jobQueue="kept")
        assert queues(cloud)[KEY].view["status"] == "DELETING"
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        while KEY in queues(cloud):
            batch.describe_job_queues(jobQueues=["kept"])
        batch.delete_compute_environment(computeEnvironment="kept")
        while KEY in environments(cloud):
            batch.describe_compute_environments(computeEnvironments=["kept"])


@pytest.mark.parametrize("kind", ["SPOT", "EC2"])
def test_a_job_that_ran_when_the_cloud_ended_lost_its_machine_and_is_tried_again(
    tmp_path: Path, kind: str
) -> None:
    strategy = {"EC2": "BEST_FIT_PROGRESSIVE", "SPOT": "SPOT_PRICE_CAPACITY_OPTIMIZED"}[kind]
    with make_world(state=tmp_path) as world:
        work = set_up(world, type=kind, allocationStrategy=strategy)
        work.agent.hold.clear()
        lost = [{"onStatusReason": "Host EC2*", "action": "RETRY"}]
        retry = {"attempts": 2, "evaluateOnExit": lost}
        job_id = work.submit(retryStrategy=retry)
        first = work.machine_of(work.until(job_id, "RUNNING"))["InstanceId"]
        later = work.submit(dependsOn=[{"jobId": job_id}])
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        assert isinstance(cloud.machines, RecordedMachines)
        until(lambda: jobs(cloud)[later].status == "SUCCEEDED")
        (job,) = client(cloud).describe_jobs(jobs=[job_id])["jobs"]
        assert job["status"] == "SUCCEEDED"
        before, after = job["attempts"]
        assert before["statusReason"] == f"Host EC2 (instance {first}) terminated."
        assert after["statusReason"] == "Essential container in task exited"
    said = local_cloud("jobs", "--state", str(tmp_path))
    assert said.stdout.count("SUCCEEDED") == 2
    assert "No cloud is running" in said.stderr


def test_a_machine_that_a_kill_kept_from_being_terminated_is_let_go_later(tmp_path: Path) -> None:
    with make_world(state=tmp_path) as world:
        work = set_up(world, type="EC2", allocationStrategy="BEST_FIT_PROGRESSIVE")
        work.ended(work.submit())
        for host in hosts(world.cloud).values():
            host.state = "GONE"  # decided, and not yet done
        assert len(work.machines()) == 1
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        cloud.batch.idle_s = 0.0
        until(lambda: not hosts(cloud))
        assert {one.state for one in instances(cloud).values()} == {"terminated"}
