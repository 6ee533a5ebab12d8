"""Jobs on recorded machines: their states, what their containers get, retries, ends and errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from local_cloud.faults import Fault, Faults
from local_cloud.services.batch_attempts import tries_again
from local_cloud.services.batch_job_model import jobs
from tests.local_cloud.batch.agents import IMAGE, Work, register, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.local_cloud.samples import refused
from tests.waiting import until

HOST_LOST = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
]


@pytest.fixture
def work() -> Iterator[Work]:
    with make_world() as world:
        yield set_up(world)


def test_a_job_runs_on_a_machine_of_its_environment_and_tells_how_it_ended(work: Work) -> None:
    job = work.ended(work.submit())
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert job["statusReason"] == "Essential container in task exited"
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    attempt = job["attempts"][0]
    assert attempt["startedAt"] == job["startedAt"]
    assert attempt["container"]["logStreamName"] == job["container"]["logStreamName"]
    machine = work.machine_of(job)
    assert machine["ImageId"] == work.world.image
    assert machine["IamInstanceProfile"]["Arn"] == work.world.profile
    assert machine["InstanceLifecycle"] == "spot"
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert tags["aws:batch:compute-environment"].endswith(":compute-environment/ce")
    assert tags["aws:ec2launchtemplate:id"] == work.world.template


def test_batch_adds_its_own_user_data_after_the_templates(work: Work) -> None:
    own = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="X"\n\n--X\n'
    own += 'Content-Type: text/x-shellscript; charset="us-ascii"\n\n#!/bin/sh\nown-script\n--X--\n'
    work.world.ec2.create_launch_template_version(
        LaunchTemplateId=work.world.template,
        LaunchTemplateData={"UserData": base64.b64encode(own.encode()).decode()},
    )
    named = {"launchTemplateId": work.world.template, "version": "2"}
    work.batch.update_compute_environment(
        computeEnvironment="ce", computeResources={"launchTemplate": named}
    )
    machine = work.machine_of(work.ended(work.submit()))
    shown = work.world.ec2.describe_instance_attribute(
        InstanceId=machine["InstanceId"], Attribute="userData"
    )
    text = base64.b64decode(shown["UserData"]["Value"]).decode()
    cluster = work.world.settled("ce")["ecsClusterArn"].rsplit("/", 1)[-1]
    assert text.index("own-script") < text.index(f"ECS_CLUSTER={cluster}>>/etc/ecs/ecs.config")
    assert "ECS_DISABLE_IMAGE_CLEANUP=false>>" in text


def test_the_container_gets_what_definition_overrides_and_batch_say(work: Work) -> None:
    register(
        work,
        command=["show", "Ref::what", "Ref::other"],
        environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
        resourceRequirements=[
            {"type": "VCPU", "value": "2"},
            {"type": "MEMORY", "value": "1024"},
            {"type": "GPU", "value": "1"},
        ],
        volumes=[{"name": "models", "host": {"sourcePath": "/opt/ml/models"}}],
        mountPoints=[
            {"sourceVolume": "models", "containerPath": "/opt/ml/models", "readOnly": True}
        ],
    )
    job_id = work.submit(
        parameters={"what": "it"},
        containerOverrides={
            "environment": [{"name": "B", "value": "2"}],
            "resourceRequirements": [{"type": "MEMORY", "value": "2048"}],
        },
    )
    job = work.ended(job_id)
    made = work.agent.containers()[0]
    assert made["Image"] == IMAGE
    assert made["Cmd"] == ["show", "it", "Ref::other"]
    held = dict(one.split("=", 1) for one in made["Env"])
    assert held == {
        "A": "1", "B": "2", "AWS_BATCH_JOB_ID": job_id, "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JQ_NAME": "work", "AWS_BATCH_CE_NAME": "ce", "NVIDIA_VISIBLE_DEVICES": "GPU-0",
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
    }  # fmt: skip
    host = made["HostConfig"]
    assert host["Binds"] == ["/opt/ml/models:/opt/ml/models:ro"]
    assert (host["Memory"], host["CpuShares"]) == (2048 * 1024**2, 2048)
    assert (host["Runtime"], host["NetworkMode"]) == ("nvidia", "host")
    log = host["LogConfig"]
    assert log["Type"] == "awslogs"
    assert log["Config"]["awslogs-group"] == "/aws/batch/job"
    assert log["Config"]["awslogs-stream"] == job["container"]["logStreamName"]
    assert job["container"]["logStreamName"].startswith("job/default/")


def test_a_container_that_fails_is_a_failed_job_with_its_exit_code(work: Work) -> None:
    work.agent.ends = [{"exit": 3}]
    job = work.ended(work.submit())
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 3)
    assert len(job["attempts"]) == 1


def test_an_image_that_cannot_be_pulled_is_a_task_that_failed_to_start(work: Work) -> None:
    work.agent.starts = [{"failed": "CannotPullContainerError: not found"}]
    job = work.ended(work.submit())
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"] == "CannotPullContainerError: not found"
    assert "exitCode" not in job["container"]


def test_a_failed_attempt_is_tried_again_as_often_as_asked(work: Work) -> None:
    work.agent.ends = [{"exit": 1}, {"exit": 1}, {"exit": 0}]
    job = work.ended(work.submit(retryStrategy={"attempts": 3}))
    assert job["status"] == "SUCCEEDED"
    assert [one["container"]["exitCode"] for one in job["attempts"]] == [1, 1, 0]
    numbers = [one.split("=")[1] for made in work.agent.containers() for one in made["Env"]
               if one.startswith("AWS_BATCH_JOB_ATTEMPT=")]  # fmt: skip
    assert numbers == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("conditions", "said", "again"),
    [
        ([], ("x", None, 1), True),
        (HOST_LOST, ("Host EC2 (instance i-1) terminated.", None, None), True),
        (HOST_LOST, ("Essential container in task exited", None, 1), False),
        (HOST_LOST, ("Task failed to start", "CannotPullContainerError: x", None), False),
        ([{"onExitCode": "1*", "action": "exit"}], ("x", None, 137), False),
        ([{"onExitCode": "1*", "action": "exit"}], ("x", None, 2), True),
        ([{"onExitCode": "137", "onReason": "OutOf*", "action": "EXIT"}], ("x", None, 137), True),
        ([{"onExitCode": "137", "onReason": "OutOf*", "action": "EXIT"}],
         ("x", "OutOfMemoryError: y", 137), False),
    ],
)  # fmt: skip
def test_the_first_condition_that_holds_decides_about_another_attempt(
    conditions: list[dict[str, str]], said: tuple[str, str | None, int | None], again: bool
) -> None:
    view = {"retryStrategy": {"attempts": 2, "evaluateOnExit": conditions}, "attempts": [{}]}
    assert tries_again(view, *said) is again
    view["attempts"] = [{}, {}]
    assert tries_again(view, *said) is False


def test_a_job_whose_machine_is_terminated_goes_on_to_another_one(work: Work) -> None:
    work.agent.hold.clear()
    retry = {"attempts": 2, "evaluateOnExit": HOST_LOST}
    job_id = work.submit(retryStrategy=retry)
    first = work.machine_of(work.until(job_id, "RUNNING"))["InstanceId"]
    work.world.ec2.terminate_instances(InstanceIds=[first])
    second = work.tried_again(job_id)
    assert second["attempts"][0]["statusReason"] == f"Host EC2 (instance {first}) terminated."
    assert work.machine_of(second)["InstanceId"] != first
    work.agent.hold.set()
    assert work.ended(job_id)["status"] == "SUCCEEDED"


def test_a_job_waits_for_those_it_depends_on(work: Work) -> None:
    work.agent.hold.clear()
    first = work.submit("first")
    second = work.submit("second", dependsOn=[{"jobId": first}])
    work.until(first, "RUNNING")
    work.until(second, "PENDING")
    work.agent.hold.set()
    assert work.ended(second)["startedAt"] >= work.ended(first)["stoppedAt"]


def test_a_job_fails_when_one_that_it_depends_on_fails(work: Work) -> None:
    work.agent.ends = [{"exit": 1}]
    first = work.submit("first")
    work.ended(first)
    second = work.ended(work.submit("second", dependsOn=[{"jobId": first}]))
    assert (second["status"], second["statusReason"]) == ("FAILED", "Dependent Job failed")


def test_terminating_a_running_job_stops_its_container(work: Work) -> None:
    work.agent.hold.clear()
    job_id = work.submit(retryStrategy={"attempts": 3})
    work.until(job_id, "RUNNING")
    work.batch.cancel_job(jobId=job_id, reason="no effect on a running job")
    assert work.job(job_id)["status"] == "RUNNING"
    work.batch.terminate_job(jobId=job_id, reason="enough")
    job = work.ended(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "enough")
    assert (job["container"]["exitCode"], job["isTerminated"]) == (143, True)
    assert len(job["attempts"]) == 1


def test_a_job_beyond_its_time_is_stopped_and_not_tried_again(work: Work) -> None:
    work.agent.out_of_time = True
    retry = {"attempts": 3}
    job = work.ended(work.submit(timeout={"attemptDurationSeconds": 60}, retryStrategy=retry))
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)


def test_a_job_without_capacity_waits_and_says_why_and_can_be_cancelled(work: Work) -> None:
    short = Fault(
        service="ec2", action="RunInstances", fault="error", code="InsufficientInstanceCapacity"
    )
    work.world.cloud.faults = Faults([short])
    job_id = work.submit()
    waiting = work.when(job_id, lambda job: "CAPACITY" in job.get("statusReason", ""))
    assert waiting["status"] == "RUNNABLE"
    assert waiting["statusReason"].endswith("for instance type [g5.xlarge]")
    work.batch.cancel_job(jobId=job_id, reason="not today")
    job = work.job(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "not today")
    assert (job["isCancelled"], job["attempts"]) == (True, [])


def test_a_job_that_no_machine_can_hold_says_so(work: Work) -> None:
    wanted = [{"type": "MEMORY", "value": "999999"}]
    job_id = work.submit(containerOverrides={"resourceRequirements": wanted})
    assert said_of(work, job_id).startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_a_job_says_so_when_the_smallest_machine_is_larger_than_its_environment(
    work: Work,
) -> None:
    """Only BEST_FIT stays below maxvCpus; the job itself would fit."""
    work.world.create("small", type="EC2", allocationStrategy="BEST_FIT", maxvCpus=2)
    order = [{"order": 1, "computeEnvironment": "small"}]
    work.batch.create_job_queue(jobQueueName="small", priority=1, computeEnvironmentOrder=order)
    wanted = [{"type": "VCPU", "value": "1"}]
    job_id = work.submit(jobQueue="small", containerOverrides={"resourceRequirements": wanted})
    reason = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    assert reason in said_of(work, job_id)


def test_a_job_waits_for_a_disabled_environment_and_says_so(work: Work) -> None:
    work.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    assert work.world.settled("ce")["state"] == "DISABLED"
    job_id = work.submit()
    assert said_of(work, job_id).startswith("UNDETERMINED")
    work.batch.update_compute_environment(computeEnvironment="ce", state="ENABLED")
    assert work.ended(job_id)["status"] == "SUCCEEDED"


def said_of(work: Work, job_id: str) -> str:
    """The reason that a waiting job gives, once it gives one."""
    found = work.when(job_id, lambda job: job.get("statusReason"))
    assert found["status"] == "RUNNABLE"
    return str(found["statusReason"])


def test_a_queue_cancels_jobs_that_wait_too_long_for_its_reason(work: Work) -> None:
    reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    limit = {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    work.batch.update_job_queue(jobQueue="work", jobStateTimeLimitActions=[limit])
    wanted = [{"type": "MEMORY", "value": "999999"}]
    job_id = work.submit(containerOverrides={"resourceRequirements": wanted})
    work.when(job_id, lambda job: job.get("statusReason"))
    jobs(work.world.cloud)[job_id].timeline["runnable"] -= 600
    job = work.ended(job_id)
    assert job["statusReason"] == f"Canceled by JobStateTimeLimit action due to reason: {reason}"


def test_an_environment_shows_the_vcpus_it_keeps(work: Work) -> None:
    work.agent.hold.clear()
    work.until(work.submit(), "RUNNING")
    assert work.world.settled("ce")["computeResources"]["desiredvCpus"] == 4


def test_a_role_that_does_not_trust_ecs_is_told_as_ecs_does(work: Work) -> None:
    role = work.world.iam.get_role(RoleName="host")["Role"]["Arn"]
    register(work, jobRoleArn=role)
    job = work.ended(work.submit())
    assert job["statusReason"] == "Task failed to start"
    assert f"ECS was unable to assume the role '{role}'" in job["container"]["reason"]


def test_a_role_that_trusts_ecs_is_the_containers_while_it_runs(work: Work) -> None:
    trust = '{"Statement": [{"Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}'
    made = work.world.iam.create_role(RoleName="of-jobs", AssumeRolePolicyDocument=trust)
    register(work, jobRoleArn=made["Role"]["Arn"])
    work.agent.hold.clear()
    job_id = work.submit()
    work.until(job_id, "RUNNING")
    held = dict(one.split("=", 1) for one in work.agent.containers()[0]["Env"])
    path = held["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
    ask = work.world.cloud.machines.task_credentials
    assert ask is not None
    keys = ask(path.removeprefix("/v2/credentials/"))
    assert keys is not None
    assert keys["RoleArn"] == made["Role"]["Arn"]
    assert set(keys) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    work.agent.hold.set()
    work.ended(job_id)
    assert ask(path.removeprefix("/v2/credentials/")) is None


def test_a_disabled_queue_takes_no_job_and_a_deleted_one_ends_its_jobs(work: Work) -> None:
    work.agent.hold.clear()
    job_id = work.submit()
    work.until(job_id, "RUNNING")
    work.batch.update_job_queue(jobQueue="work", state="DISABLED")
    wanted = {"jobName": "one", "jobQueue": "work", "jobDefinition": "job"}
    assert refused(work.batch.submit_job, **wanted)[0] == "ClientException"
    until(lambda: work.batch.describe_job_queues()["jobQueues"][0]["status"] == "VALID")
    work.batch.delete_job_queue(jobQueue="work")
    assert work.ended(job_id)["statusReason"] == "Job queue is deleted"
