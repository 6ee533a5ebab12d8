"""AMIs rolled through the component by the real engine, with jobs running, under both readings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.batch_settings import AmiReading, BatchSettings
from local_cloud.cloud import Cloud
from local_cloud.faults import Faults, parse_faults
from local_cloud.inventory import take_inventory
from local_cloud.services.batch_job_model import hosts
from tests.batch.examples import Example, ended, open_example, until
from tests.local_cloud.batch.agents import Agent
from tests.waiting import PATIENT

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(2400),  # eight updates, also where everything is very slow
    pytest.mark.xdist_group("rolling"),
]

BASE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
GONE = "ami-0123456789abcdef0"
IMAGE = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor@sha256:{'a' * 64}"
SETTINGS = {
    "aws:region": "ap-northeast-2",
    "imageUri": IMAGE,
    "vpcId": "vpc-0a10ca1000000000a",
    "subnetId": "subnet-0a10ca10000000001",
}


@dataclass
class Batch:
    """The example's Batch as a user sees it, and the agent that runs its jobs."""

    example: Example
    agent: Agent
    outputs: dict[str, Any]

    def submit(self, name: str) -> str:
        asked = {"jobQueue": self.outputs["queue"], "jobDefinition": self.outputs["job"]}
        return str(self.example.client("batch").submit_job(jobName=name, **asked)["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.example.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
        return found

    def reached(self, job_id: str, *statuses: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in statuses else None

        return until(look, f"job {job_id} {statuses}")

    def ami_of(self, job: dict[str, Any]) -> str:
        """The AMI of the machine that a job is or was on."""
        arn = job["container"]["containerInstanceArn"]
        held = hosts(self.example.cloud).values()
        return next(one.image_id for one in held if one.container_instance == arn)

    def runs_on(self, ami: str) -> None:
        """A new job starts on a machine of this AMI, and ends well."""
        job = self.submit("another")
        seen = self.reached(job, "RUNNING", "SUCCEEDED", "FAILED")
        assert self.ami_of(seen) == ami
        assert self.reached(job, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"

    def environment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.example.client("batch").describe_compute_environments(
            computeEnvironments=[self.outputs["environment"]]
        )["computeEnvironments"][0]
        return found

    def is_updating(self) -> bool | None:
        return self.environment()["status"] == "UPDATING" or None


@pytest.fixture
def batch(reading: AmiReading, tmp_path: Path) -> Iterator[Batch]:
    settings = BatchSettings(ami_reading=reading)
    with (
        Cloud(real=False, batch=settings, say=lambda _: None) as cloud,
        open_example(cloud, "gpu_batch", tmp_path) as example,
    ):
        example.set(**SETTINGS)
        yield Batch(example, Agent(cloud.machines), {})  # type: ignore[arg-type]


@pytest.fixture
def reading() -> AmiReading:
    return "guide"


def two_amis(example: Example) -> tuple[str, str]:
    """The base AMI, and one made of a machine that is gone again."""
    ec2 = example.client("ec2")
    base = str(example.client("ssm").get_parameter(Name=BASE)["Parameter"]["Value"])
    machine = ec2.run_instances(ImageId=base, InstanceType="t3.micro", MinCount=1, MaxCount=1)[
        "Instances"
    ][0]["InstanceId"]
    other = str(ec2.create_image(InstanceId=machine, Name="other", NoReboot=True)["ImageId"])
    ec2.get_waiter("image_available").wait(ImageIds=[other], WaiterConfig=PATIENT)
    ec2.terminate_instances(InstanceIds=[machine])
    return base, other


@pytest.mark.parametrize("reading", ["guide", "strict"])
def test_amis_roll_in_and_back_under_running_jobs(batch: Batch) -> None:
    example, agent = batch.example, batch.agent
    first, second = two_amis(example)
    example.set(amiId=first)
    batch.outputs = example.up()
    batch.runs_on(first)

    # A new AMI while a job runs: it ends where it is, the next one starts on the new AMI.
    agent.hold.clear()
    old = batch.submit("old")
    assert batch.ami_of(batch.reached(old, "RUNNING")) == first
    example.set(amiId=second)
    roll = example.start("up", "--yes", "--skip-preview")
    until(batch.is_updating, "the environment's update")
    new = batch.submit("new")
    assert batch.ami_of(batch.reached(new, "RUNNING")) == second
    assert batch.job(old)["status"] == "RUNNING"
    assert roll.poll() is None, "the roll-out is done when the old machine is gone, not before"
    agent.hold.set()
    run = ended(roll)
    assert run.status == 0, run.text
    for job in (old, new):
        seen = batch.reached(job, "SUCCEEDED", "FAILED")
        assert (seen["status"], len(seen["attempts"])) == ("SUCCEEDED", 1)
    assert batch.environment()["status"] == "VALID"

    # Back again, in place.
    example.set(amiId=first)
    before = batch.outputs["environment"]
    batch.outputs = example.up()
    assert batch.outputs["environment"] == before
    batch.runs_on(first)

    # INVALID, told both times, and out of it by the former AMI.
    example.set(amiId=GONE)
    assert f"The image id '[{GONE}]' does not exist" in told(example)
    again = told(example)
    assert "is INVALID: CLIENT_ERROR" in again, again
    assert "or go back to the former settings" in again
    assert "Traceback" not in again
    example.set(amiId=first)
    batch.outputs = example.up()
    assert batch.environment()["status"] == "VALID"
    batch.runs_on(first)

    # All of it goes while a job runs.
    agent.hold.clear()
    last = batch.submit("last")
    batch.reached(last, "RUNNING")
    example.do("destroy", "--yes", "--skip-preview")
    kept = {kind: items for kind, items in take_inventory(example.cloud).items() if items}
    assert set(kept) == {"image", "snapshot"}, kept  # those of the test's own AMI


def told(example: Example) -> str:
    """What an update that fails says."""
    run = example.attempt("up", "--yes", "--skip-preview")
    assert run.status != 0, run.text
    return run.text


def test_an_update_that_is_cut_off_is_waited_for_by_the_next_one(batch: Batch) -> None:
    """As credentials that expire while Batch is still moving: the former AMI is not let go."""
    example, agent = batch.example, batch.agent
    first, second = two_amis(example)
    example.set(amiId=first)
    batch.outputs = example.up()
    agent.hold.clear()
    old = batch.submit("old")
    batch.reached(old, "RUNNING")
    example.set(amiId=second)
    denied = {"service": "batch", "action": "DescribeComputeEnvironments", "fault": "error",
              "code": "AccessDeniedException", "status": 403,
              "when": {"access_key": "local"}}  # fmt: skip
    example.cloud.faults = Faults(parse_faults(json.dumps([denied])))
    assert "AccessDeniedException" in told(example)
    example.cloud.faults = Faults()
    assert batch.is_updating()

    again = example.start("up", "--yes", "--skip-preview")
    before = len(example.cloud.calls.read())

    def looked() -> bool | None:
        calls = example.cloud.calls.read()[before:]
        mine = [one for one in calls if one["access_key"] == "local"]
        asked = [one["action"] for one in mine].count("DescribeComputeEnvironments")
        return True if asked > 3 else None

    until(looked, "the wait of the second update")
    assert again.poll() is None
    assert batch.job(old)["status"] == "RUNNING"
    agent.hold.set()
    run = ended(again)
    assert run.status == 0, run.text
    assert batch.environment()["status"] == "VALID"
    assert batch.reached(old, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"
    batch.runs_on(second)


def test_an_environment_that_must_be_replaced_is_never_the_queues_only_one(batch: Batch) -> None:
    example = batch.example
    first, second = two_amis(example)
    example.set(amiId=first, allocationStrategy="BEST_FIT", spot="false")
    batch.outputs = example.up()
    example.set(amiId=second)
    preview = example.do("preview")
    assert re.search("aws:batch:ComputeEnvironment gpu .*replace", preview), preview
    assert "every new AMI makes another environment" in preview
    former, before = batch.outputs["environment"], len(example.cloud.calls.read())
    batch.outputs = example.up()
    assert batch.outputs["environment"] != former
    order = ["CreateComputeEnvironment", "UpdateJobQueue", "DeleteComputeEnvironment"]
    made = [one["action"] for one in example.cloud.calls.read()[before:]]
    assert [action for action in made if action in order] == order
    batch.runs_on(second)
