"""Machines of an environment over time: in-place updates, AMIs by both readings, INVALID, ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.batch_settings import AmiReading
from local_cloud.services.batch_job_model import hosts
from tests.local_cloud.batch.agents import NEEDS, Work, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.waiting import PATIENT, until

RETRY = {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}]}


@pytest.fixture
def work() -> Iterator[Work]:
    with make_world() as world:
        yield set_up(world)


def other_image(work: Work) -> str:
    """A second AMI, of a machine that is gone again."""
    ec2 = work.world.ec2
    made = ec2.run_instances(
        ImageId=work.world.image, InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    instance_id = made["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=PATIENT)
    image = str(ec2.create_image(InstanceId=instance_id, Name="other", NoReboot=True)["ImageId"])
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=PATIENT)
    ec2.terminate_instances(InstanceIds=[instance_id])
    return image


def named(image: str) -> dict[str, Any]:
    """Compute resources whose environment itself names the AMI."""
    return {"ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": image}]}


def of_template(work: Work, image: str) -> dict[str, Any]:
    """Compute resources whose AMI comes from a new version of the template."""
    version = work.world.ec2.create_launch_template_version(
        LaunchTemplateId=work.world.template, LaunchTemplateData={"ImageId": image}
    )["LaunchTemplateVersion"]["VersionNumber"]
    template = {"launchTemplateId": work.world.template, "version": str(version)}
    return {"launchTemplate": template, "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA"}]}


def update(work: Work, resources: dict[str, Any], **more: Any) -> None:
    work.batch.update_compute_environment(
        computeEnvironment="ce", computeResources=resources, **more
    )


def environment(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = work.batch.describe_compute_environments(computeEnvironments=["ce"])[
        "computeEnvironments"
    ][0]
    return found


@pytest.mark.parametrize("reading", ["guide", "strict"])
def test_a_roll_out_leaves_running_jobs_alone_under_both_readings(
    work: Work, reading: AmiReading
) -> None:
    work.world.cloud.batch.ami_reading = reading
    new = other_image(work)
    work.agent.hold.clear()
    first = work.submit("first")
    old_machine = work.machine_of(work.until(first, "RUNNING"))
    update(work, named(new))
    second = work.submit("second")
    assert work.machine_of(work.until(second, "RUNNING"))["ImageId"] == new
    assert environment(work)["status"] == "UPDATING"
    assert work.job(first)["status"] == "RUNNING"
    work.agent.hold.set()
    assert work.ended(first)["status"] == "SUCCEEDED"
    assert work.ended(second)["status"] == "SUCCEEDED"
    assert len(work.job(first)["attempts"]) == 1
    assert work.world.settled("ce")["status"] == "VALID"
    left = [one["InstanceId"] for one in work.machines("pending", "running")]
    assert old_machine["InstanceId"] not in left


@pytest.mark.parametrize(
    ("reading", "latest", "moves"),
    [("guide", False, True), ("strict", False, False), ("strict", True, True)],
)
def test_whether_a_templates_ami_moves_is_the_readings_difference(
    work: Work, reading: AmiReading, latest: bool, moves: bool
) -> None:
    work.world.cloud.batch.ami_reading = reading
    update(work, of_template(work, work.world.image))
    assert work.world.settled("ce")["status"] == "VALID"
    new = other_image(work)
    asked = {"updateToLatestImageVersion": True} if latest else {}
    update(work, of_template(work, new) | asked)
    assert work.world.settled("ce")["status"] == "VALID"
    machine = work.machine_of(work.ended(work.submit()))
    assert machine["ImageId"] == (new if moves else work.world.image)


def test_an_ami_that_is_gone_makes_the_environment_invalid_with_ec2s_reason(work: Work) -> None:
    new = other_image(work)
    update(work, named(new))
    assert work.world.settled("ce")["status"] == "VALID"
    work.world.ec2.deregister_image(ImageId=new)
    job_id = work.submit()
    until(lambda: environment(work)["status"] == "INVALID")
    assert environment(work)["statusReason"] == (
        "CLIENT_ERROR - You must use a valid fully-formed launch template."
        f" The image id '[{new}]' does not exist"
    )
    waiting = work.when(job_id, lambda job: "ACTION" in job.get("statusReason", ""))
    assert waiting["status"] == "RUNNABLE"
    update(work, named(work.world.image))
    assert work.ended(job_id)["status"] == "SUCCEEDED"
    assert work.world.settled("ce")["status"] == "VALID"


def test_an_update_to_an_ami_that_is_not_there_is_invalid_and_running_jobs_go_on(
    work: Work,
) -> None:
    work.agent.hold.clear()
    job_id = work.submit()
    work.until(job_id, "RUNNING")
    update(work, named("ami-0123456789abcdef0"))
    settled = work.world.settled("ce")
    assert settled["status"] == "INVALID"
    assert "The image id '[ami-0123456789abcdef0]' does not exist" in settled["statusReason"]
    work.agent.hold.set()
    assert work.ended(job_id)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "policy",
    [
        {"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 360},
        {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 1},
    ],
)
def test_jobs_beyond_the_update_policy_lose_their_machine_and_are_tried_again(
    work: Work, policy: dict[str, Any]
) -> None:
    work.world.cloud.batch.minute_s = 0.3
    new = other_image(work)
    work.agent.hold.clear()
    job_id = work.submit(retryStrategy=RETRY)
    first = work.machine_of(work.until(job_id, "RUNNING"))["InstanceId"]
    update(work, named(new), updatePolicy=policy)
    again = work.tried_again(job_id)
    assert again["attempts"][0]["statusReason"] == f"Host EC2 (instance {first}) terminated."
    assert work.machine_of(again)["ImageId"] == new
    assert work.world.settled("ce")["status"] == "VALID"
    work.agent.hold.set()
    assert work.ended(job_id)["status"] == "SUCCEEDED"


def test_a_machine_is_used_again_then_let_go_when_idle(work: Work) -> None:
    first = work.machine_of(work.ended(work.submit("first")))["InstanceId"]
    second = work.machine_of(work.ended(work.submit("second")))["InstanceId"]
    assert first == second
    work.world.cloud.batch.idle_s = 0.1
    until(lambda: work.machines("terminated"))
    assert work.machines() == []


def test_jobs_share_a_machine_as_far_as_they_fit_and_vcpus_are_limited(work: Work) -> None:
    work.agent.hold.clear()
    half = [NEEDS[0] | {"value": "2"}, NEEDS[1]]
    override = {"resourceRequirements": half}
    two = [work.submit(f"half-{n}", containerOverrides=override) for n in range(2)]
    shared = {work.machine_of(work.until(one, "RUNNING"))["InstanceId"] for one in two}
    assert len(shared) == 1
    whole = [work.submit(f"whole-{n}") for n in range(4)]  # 16 vCPUs: room for three more
    for job_id in whole[:3]:
        work.until(job_id, "RUNNING")
    work.until(whole[3], "RUNNABLE")
    work.until(work.submit("later"), "RUNNABLE")  # Batch has looked at those before it since
    assert work.job(whole[3])["status"] == "RUNNABLE"
    assert len(work.machines()) == 4
    work.agent.hold.set()
    assert work.ended(whole[3])["status"] == "SUCCEEDED"


def settled_queue(work: Work) -> None:
    until(lambda: work.batch.describe_job_queues()["jobQueues"][0]["status"] == "VALID")


def test_a_disabled_environment_lets_its_jobs_run_and_takes_no_new_ones(work: Work) -> None:
    work.agent.hold.clear()
    first = work.submit("first")
    work.until(first, "RUNNING")
    work.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    assert work.world.settled("ce")["state"] == "DISABLED"
    second = work.submit("second")
    work.until(second, "RUNNABLE")
    work.agent.hold.set()
    assert work.ended(first)["status"] == "SUCCEEDED"
    assert work.job(second)["status"] == "RUNNABLE"
    work.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
    assert work.ended(second)["status"] == "SUCCEEDED"


def test_an_environment_deleted_under_a_running_job_takes_its_machine_along(work: Work) -> None:
    work.world.create("other")
    work.agent.hold.clear()
    job_id = work.submit(retryStrategy=RETRY)
    first = work.machine_of(work.until(job_id, "RUNNING"))["InstanceId"]
    work.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    work.world.settled("ce")
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        work.batch.delete_compute_environment(computeEnvironment="ce")
    order = [{"order": 1, "computeEnvironment": "other"}]
    work.batch.update_job_queue(jobQueue="work", computeEnvironmentOrder=order)
    settled_queue(work)
    assert work.job(job_id)["status"] == "RUNNING"
    work.batch.delete_compute_environment(computeEnvironment="ce")

    def names() -> list[str]:
        found = work.batch.describe_compute_environments()["computeEnvironments"]
        return [one["computeEnvironmentName"] for one in found]

    until(lambda: names() == ["other"])
    (lost,) = work.tried_again(job_id)["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {first}) terminated."
    work.agent.hold.set()
    assert work.ended(job_id)["status"] == "SUCCEEDED"


def test_the_least_vcpus_are_kept_and_an_environments_machines_end_with_it() -> None:
    with make_world() as world:
        work = set_up(world, minvCpus=4)
        until(work.machines)
        assert len(work.machines()) == 1
        for thing, name in (("job_queue", "work"), ("compute_environment", "ce")):
            key = "".join(part.title() for part in thing.split("_"))
            key = key[0].lower() + key[1:]
            getattr(work.batch, f"update_{thing}")(**{key: name, "state": "DISABLED"})

            def statuses(thing: str = thing, key: str = key) -> list[str]:
                shown = getattr(work.batch, f"describe_{thing}s")()[f"{key}s"]
                return [one["status"] for one in shown]

            until(lambda: statuses() == ["VALID"])
            getattr(work.batch, f"delete_{thing}")(**{key: name})
            until(lambda: statuses() == [])
        assert work.machines("pending", "running", "shutting-down", "stopped") == []
        assert hosts(world.cloud) == {}
