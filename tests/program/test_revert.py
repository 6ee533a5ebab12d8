"""A roll-out that Batch refuses, and the way back: the whole program on the real engine.

With machines that run, so that a job can show at the end that Batch works.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.ami_provider.stacks import push_version
from tests.program.conftest import LocalCloud, Stack

pytestmark = [pytest.mark.engine, pytest.mark.machines, pytest.mark.xdist_group("revert")]

DEADLINE_S = 300.0


def holdings(cloud: LocalCloud) -> Counter[tuple[str, str]]:
    """Everything that the account holds: AMIs by ID, the rest by kind and plain name."""
    return Counter(
        (kind, thing["id"] if kind == "image" else plain(str(thing.get("name") or thing["id"])))
        for kind, things in cloud.inventory().items()
        for thing in things
    )


def plain(name: str) -> str:
    """Without the digits that the engine or Batch put behind it."""
    return re.sub(r"(-[0-9a-f]{7,}|:\d+)$", "", name.rpartition("/")[2])


def get_environment(cloud: LocalCloud, arn: str) -> dict[str, Any]:
    found = cloud.client("batch").describe_compute_environments(computeEnvironments=[arn])
    one: dict[str, Any] = found["computeEnvironments"][0]
    return one


def run_job(cloud: LocalCloud, outputs: dict[str, Any]) -> dict[str, Any]:
    """A job of the stack's definition in its queue, once it has ended."""
    batch = cloud.client("batch")
    job = batch.submit_job(
        jobName="after",
        jobQueue=outputs["jobQueueArn"],
        jobDefinition=outputs["jobDefinitionArn"],
    )["jobId"]
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found: dict[str, Any] = batch.describe_jobs(jobs=[job])["jobs"][0]
        if found["status"] in ("SUCCEEDED", "FAILED"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the job did not end: {found}")


def test_after_a_refused_roll_out_the_old_settings_bring_the_first_ami_back(
    cloud: LocalCloud, stack: Stack
) -> None:
    iam, ecr = cloud.client("iam"), cloud.client("ecr")
    stack.set(keep="1", job={"memoryMib": 1024})
    stack.up("--skip-preview")
    first = stack.outputs()
    before = holdings(cloud)
    assert Counter(kind for kind, _ in before)["image"] == 1

    # Somebody deletes the machines' profile: Batch will not take the next change.
    environment = get_environment(cloud, first["computeEnvironmentArn"])
    profile = environment["computeResources"]["instanceRole"].rpartition("/")[2]
    (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=profile)
    push_version(ecr, "v2")
    stack.set(imageTag="v2")
    failed = stack.pulumi("up", "--yes", "--skip-preview", "--non-interactive", "--color", "never")
    assert failed.status != 0
    assert "INVALID" in failed.text
    environment = get_environment(cloud, first["computeEnvironmentArn"])
    assert environment["status"] == "INVALID"
    (new,) = {image["id"] for image in cloud.inventory()["image"]} - {first["amiId"]}
    configuration = environment["computeResources"]["ec2Configuration"][0]
    assert configuration["imageIdOverride"] == new

    # The profile is put back, and so are the settings.
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role["RoleName"])
    stack.set(imageTag="latest")
    launches = count_launches(cloud)
    stack.up("--skip-preview")
    back = stack.outputs()
    assert (back["amiId"], back["fingerprint"]) == (first["amiId"], first["fingerprint"])
    assert count_launches(cloud) == launches, "the first AMI was used, not baked again"
    environment = get_environment(cloud, back["computeEnvironmentArn"])
    assert (environment["status"], environment["state"]) == ("VALID", "ENABLED")
    assert holdings(cloud) == before, "the failed AMI is gone, and nothing else was left"
    job = run_job(cloud, back)
    assert job["status"] == "SUCCEEDED", job
    stack.up("--skip-preview", "--expect-no-changes")

    assert stack.pulumi("destroy", "--yes", "--non-interactive").status == 0
    assert holdings(cloud) == Counter()


def count_launches(cloud: LocalCloud) -> int:
    return sum(call["action"] in ("RunInstances", "CreateFleet") for call in cloud.calls())
