"""Jobs on machines that run: pulls, models, logs, GPUs, roles, ends, and roll-outs over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.batch_settings import AmiReading
from local_cloud.faults import Fault, Faults
from local_cloud.seed import REPOSITORY, seed_image
from local_cloud.timelines import job_timelines
from tests.local_cloud.batch.agents import Work, register, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.waiting import PATIENT, until

pytestmark = pytest.mark.machines

IMAGE = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/{REPOSITORY}:latest"
GPU = [
    {"type": "VCPU", "value": "4"},
    {"type": "MEMORY", "value": "256"},
    {"type": "GPU", "value": "1"},
]
MODELS = {
    "volumes": [{"name": "models", "host": {"sourcePath": "/opt/ml/models"}}],
    "mountPoints": [{"sourceVolume": "models", "containerPath": "/opt/ml/models"}],
}
#: Turns a machine that has pulled the image into one to make an AMI of.
BAKE = """set -e
systemctl stop ecs
mkdir -p /opt/ml/models; echo weights >/opt/ml/models/model.bin
echo ECS_IMAGE_PULL_BEHAVIOR=prefer-cached >/etc/ecs/ecs.config
rm -rf /var/lib/ecs/data/* /var/lib/cloud/instance /var/lib/cloud/instances
systemctl stop docker docker.socket containerd; sync
"""


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    with make_world(real=True) as world:
        assert world.cloud.real, "these tests need machines that run: root on Linux"
        world.cloud.batch.idle_s = 3600.0  # on a busy machine, a minute passes between two jobs
        seed_image(world.cloud, mib=8)
        work = set_up(world)
        register(work, command=[], resourceRequirements=GPU, **MODELS)
        yield work


@pytest.fixture(scope="module")
def baked(work: Work) -> str:
    """An AMI with the image, a model and the agent's setting, made by plain AWS calls."""
    job = work.ended(work.submit("pulls"))
    assert job["status"] == "SUCCEEDED", job
    machine = work.machine_of(job)["InstanceId"]
    command(work, machine, BAKE)
    ec2 = work.world.ec2
    image = str(ec2.create_image(InstanceId=machine, Name="baked", NoReboot=True)["ImageId"])
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=PATIENT)
    ec2.terminate_instances(InstanceIds=[machine])
    return image


def command(work: Work, machine: str, script: str) -> str:
    ssm = work.world.client("ssm")
    sent = ssm.send_command(
        InstanceIds=[machine], DocumentName="AWS-RunShellScript", Parameters={"commands": [script]}
    )["Command"]["CommandId"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = ssm.get_command_invocation(CommandId=sent, InstanceId=machine)
        return None if found["Status"] in ("Pending", "InProgress") else found

    said = until(ended)
    assert said["Status"] == "Success", said
    return str(said["StandardOutputContent"])


def log(work: Work, job: dict[str, Any]) -> list[str]:
    stream = job["container"]["logStreamName"]
    found = work.world.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
    )
    return [str(one["message"]) for one in found["events"]]


def timeline(work: Work, job: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one for one in job_timelines(work.world.cloud) if one["id"] == job["jobId"]]
    last: dict[str, Any] = found["attempts"][-1]
    return last


def roll(work: Work, image: str, **more: Any) -> None:
    """Update the environment as a program does: the override and the template's next version."""
    version = work.world.ec2.create_launch_template_version(
        LaunchTemplateId=work.world.template, LaunchTemplateData={"ImageId": image}
    )["LaunchTemplateVersion"]["VersionNumber"]
    resources = {
        "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": image}],
        "launchTemplate": {"launchTemplateId": work.world.template, "version": str(version)},
    }
    work.batch.update_compute_environment(
        computeEnvironment="ce", computeResources=resources, **more
    )


def rolled(work: Work, image: str) -> None:
    """Have the environment launch this AMI; its machines stay when it does already."""
    held = work.world.settled("ce")["computeResources"]["ec2Configuration"][0]
    if held["imageIdOverride"] != image:
        roll(work, image)
        assert work.world.settled("ce")["status"] == "VALID"


def test_a_job_on_the_base_ami_pulls_its_image_and_its_log_can_be_read(work: Work) -> None:
    rolled(work, work.world.image)
    job = work.ended(work.submit())
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0), job
    said = timeline(work, job)
    assert said["ami"] == work.world.image
    assert said["image"]["how"] == "pulled"
    times = list(said["times"].values())
    assert times == sorted(times)
    assert log(work, job)[-1] == "batch-processor: no models in /opt/ml/models"


def test_a_job_on_an_ami_with_its_image_does_not_pull_and_has_the_models(
    work: Work, baked: str
) -> None:
    rolled(work, baked)
    asked = len(work.world.cloud.calls.read())
    job = work.ended(work.submit())
    assert job["status"] == "SUCCEEDED", job
    assert timeline(work, job)["image"] == {"how": "cached", "behaviour": "prefer-cached"}
    assert "model model.bin 8 bytes" in "\n".join(log(work, job))
    later = work.world.cloud.calls.read()[asked:]
    assert "GetAuthorizationToken" not in [one["action"] for one in later]


@pytest.mark.parametrize("reading", ["guide", "strict"])
def test_a_roll_leaves_the_running_job_on_its_machine_and_the_next_is_on_the_new_ami(
    work: Work, baked: str, reading: AmiReading
) -> None:
    work.world.cloud.batch.ami_reading = reading
    rolled(work, work.world.image)
    waits = "until [ -e /opt/ml/models/go ]; do sleep 0.1; done; echo went"
    first = work.submit("first", containerOverrides={"command": ["sh", "-c", waits]})
    old = work.machine_of(work.until(first, "RUNNING"))
    roll(work, baked)
    second = work.ended(work.submit("second"))
    assert (second["status"], timeline(work, second)["ami"]) == ("SUCCEEDED", baked)
    assert work.job(first)["status"] == "RUNNING"
    command(work, old["InstanceId"], "touch /opt/ml/models/go")
    ended = work.ended(first)
    assert (ended["status"], len(ended["attempts"])) == ("SUCCEEDED", 1)
    assert timeline(work, ended)["machine"] == old["InstanceId"]
    assert log(work, ended) == ["went"]
    assert work.world.settled("ce")["status"] == "VALID"


def test_a_container_speaks_to_aws_as_its_jobs_role(work: Work, baked: str) -> None:
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    trust_ecs = {"Statement": [trust | {"Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}
    role = work.world.iam.create_role(
        RoleName="of-the-job", AssumeRolePolicyDocument=json.dumps(trust_ecs)
    )["Role"]["Arn"]
    # The machine's own curl: the sample image has none that checks certificates.
    folders = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
    ask = """
      keys=$(curl -sf 169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)
      get() { echo "$keys" | jq -r .$1; }
      curl -sSf --aws-sigv4 aws:amz:ap-northeast-2:sts \
        -u "$(get AccessKeyId):$(get SecretAccessKey)" \
        -H "X-Amz-Security-Token: $(get Token)" -d 'Action=GetCallerIdentity&Version=2011-06-15' \
        https://sts.ap-northeast-2.amazonaws.com/"""
    work.batch.register_job_definition(
        jobDefinitionName="asks",
        type="container",
        containerProperties={
            "image": IMAGE,
            "jobRoleArn": role,
            "command": ["/usr/bin/bash", "-c", "PATH=/usr/bin:/bin\n" + ask],
            "resourceRequirements": GPU,
            "volumes": [{"name": n, "host": {"sourcePath": p}} for n, p in folders.items()],
            "mountPoints": [{"sourceVolume": n, "containerPath": f"/{n}"} for n in folders],
        },
    )
    rolled(work, baked)
    job = work.ended(work.submit(jobDefinition="asks"))
    said = "\n".join(log(work, job))
    assert job["status"] == "SUCCEEDED", said
    assert "assumed-role/of-the-job/" in said


def test_a_container_has_its_gpu_and_its_limits(work: Work, baked: str) -> None:
    rolled(work, baked)
    shows = "nvidia-smi -L; cat /sys/fs/cgroup/memory/memory.limit_in_bytes || \
      cat /sys/fs/cgroup/memory.max; echo $AWS_BATCH_JOB_ATTEMPT; exit 3"
    override = {
        "command": ["sh", "-c", shows],
        "resourceRequirements": [{"type": "MEMORY", "value": "64"}],
    }
    job = work.ended(work.submit(containerOverrides=override))
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 3)
    said = log(work, job)
    assert said[0].startswith("GPU 0: NVIDIA A10G")
    assert said[-2:] == [str(64 * 1024**2), "1"]


def test_terminating_a_job_stops_its_container(work: Work, baked: str) -> None:
    rolled(work, baked)
    obeys = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.1; done"
    job_id = work.submit(containerOverrides={"command": ["sh", "-c", obeys]})
    running = work.until(job_id, "RUNNING")
    until(lambda: "up" in log(work, running))
    work.batch.terminate_job(jobId=job_id, reason="enough")
    job = work.ended(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "enough")
    assert job["container"]["exitCode"] == 5
    assert log(work, job) == ["up", "told"]


def test_the_agents_pull_behaviour_is_the_machines_own_setting(work: Work, baked: str) -> None:
    rolled(work, baked)
    machine = work.machine_of(work.ended(work.submit()))["InstanceId"]
    no_tokens = Fault(service="ecr", action="GetAuthorizationToken", fault="error", code="Denied")

    def how(behaviour: str, *faults: Fault) -> Any:
        change = f"sed -i '$ a ECS_IMAGE_PULL_BEHAVIOR={behaviour}' /etc/ecs/ecs.config"
        command(work, machine, f"{change}; systemctl restart ecs")
        work.world.cloud.faults = Faults(list(faults))
        job = work.ended(work.submit())
        work.world.cloud.faults = Faults()
        said = timeline(work, job)
        assert said["machine"] == machine
        return said["image"]["how"] if job["status"] == "SUCCEEDED" else job["container"]["reason"]

    assert how("default") == "pulled, and was up to date"
    assert how("default", no_tokens) == "cached after a failed pull"
    assert how("always", no_tokens).startswith("CannotPullECRContainerError")
    assert how("once", no_tokens) == "cached"  # `default` pulled it on this machine before
    assert how("prefer-cached", no_tokens) == "cached"


def test_an_image_that_is_not_there_is_told_as_ecs_does(work: Work, baked: str) -> None:
    rolled(work, baked)
    register(work, image=IMAGE.replace("latest", "none"), resourceRequirements=GPU)
    job = work.ended(work.submit())
    register(work, command=[], resourceRequirements=GPU, **MODELS)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["attempts"][0]["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "none" in job["container"]["reason"]
