"""One stack's whole life on the real engine, told in order: each test goes on where the last ended.

up, up again, another image under the same tag, another model, another site, destroy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.program.changes import change_a_model, push_another_image
from tests.program.conftest import LocalCloud, Stack

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("story")]

OUTPUTS = {
    "amiId",
    "amiName",
    "fingerprint",
    "manifest",
    "launchTemplateId",
    "launchTemplateVersion",
    "computeEnvironmentArn",
    "jobQueueArn",
    "jobDefinitionArn",
}
AMI = "pulumi-python:dynamic/baked_ami:BakedAmi"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
REPLACED = {"create-replacement", "replace", "delete-replaced"}
ENVIRONMENT = "aws:batch/computeEnvironment:ComputeEnvironment"
JOB = "aws:batch/jobDefinition:JobDefinition"
ROLL_OUT = "pulumi-python:dynamic/baked_ami:RollOut"


@dataclass
class Told:
    """What earlier tests of the story leave for later ones."""

    outputs: dict[str, Any] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


def in_aws(cloud: LocalCloud, outputs: dict[str, Any]) -> dict[str, Any]:
    """What AWS itself holds of a stack, read past Pulumi."""
    ec2, batch = cloud.client("ec2"), cloud.client("batch")
    (image,) = ec2.describe_images(ImageIds=[outputs["amiId"]])["Images"]
    (version,) = ec2.describe_launch_template_versions(
        LaunchTemplateId=outputs["launchTemplateId"],
        Versions=[str(int(outputs["launchTemplateVersion"]))],
    )["LaunchTemplateVersions"]
    (environment,) = batch.describe_compute_environments(
        computeEnvironments=[outputs["computeEnvironmentArn"]]
    )["computeEnvironments"]
    (job,) = batch.describe_job_definitions(jobDefinitions=[outputs["jobDefinitionArn"]])[
        "jobDefinitions"
    ]
    return {"image": image, "template": version, "environment": environment, "job": job}


def assert_batch_uses_the_ami(cloud: LocalCloud, outputs: dict[str, Any]) -> None:
    """The AMI's ID is wherever Batch may look for it, and the job is pinned to its image."""
    found = in_aws(cloud, outputs)
    resources = found["environment"]["computeResources"]
    assert found["image"]["State"] == "available"
    assert found["template"]["LaunchTemplateData"]["ImageId"] == outputs["amiId"]
    (configuration,) = resources["ec2Configuration"]
    assert configuration["imageIdOverride"] == outputs["amiId"]
    assert configuration["imageType"] == "ECS_AL2023_NVIDIA"
    template = resources["launchTemplate"]
    assert template["launchTemplateId"] == outputs["launchTemplateId"]
    assert template["version"] == str(int(outputs["launchTemplateVersion"]))
    (image,) = outputs["manifest"]["images"]
    pinned = found["job"]["containerProperties"]["image"]
    assert pinned == f"{image['repository']}@{image['digest']}"


def assert_inventory_is_one_stack(cloud: LocalCloud, outputs: dict[str, Any]) -> None:
    """One AMI with its own snapshot; no builder, volume, or second version of anything."""
    held = cloud.inventory()
    assert [image["id"] for image in held["image"]] == [outputs["amiId"]]
    assert len(held["snapshot"]) == 1
    assert held["machine"] == []
    assert held["volume"] == []


def made_since(cloud: LocalCloud, before: int) -> list[str]:
    """The mutating calls after the first `before` ones, as `service:Action`, oldest first."""
    return [
        f"{call['service']}:{call['action']}" for call in cloud.calls()[before:] if call["mutating"]
    ]


def test_the_first_up_gives_nine_outputs_and_an_ami_in_batch(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    run = stack.up()
    told.outputs = stack.outputs()
    assert set(told.outputs) == OUTPUTS
    # The preview knows the AMI's content, though not its ID.
    preview, _, update = run.text.partition("Updating (")
    for shown in (preview, update):
        assert "a job on a new machine starts in about 80-120 s from this AMI" in shown
    assert_batch_uses_the_ami(cloud, told.outputs)
    assert_inventory_is_one_stack(cloud, told.outputs)
    told.digests.append(told.outputs["manifest"]["images"][0]["digest"])


def test_a_second_up_changes_nothing_and_asks_aws_to_change_nothing(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    before = len(cloud.calls())
    run = stack.up("--expect-no-changes")
    assert "unchanged" in run.text
    assert made_since(cloud, before) == []
    assert stack.outputs() == told.outputs


def test_another_image_under_the_same_tag_shows_in_the_preview(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    digest = push_another_image(cloud.client("ecr"), "batch-processor", "latest")
    told.digests.append(digest)
    before = len(cloud.calls())
    plan = stack.plan()
    assert "the AMI is replaced, because its content changes:" in plan.told
    old, new = (f"{one[:19]}…" for one in told.digests)
    assert f"  image batch-processor:latest: digest {old} -> {new}" in plan.told
    assert plan.operations[AMI] in REPLACED
    in_place = (ENVIRONMENT, TEMPLATE, JOB, ROLL_OUT)
    assert {plan.operations[kind] for kind in in_place} == {"update"}
    assert set(plan.operations) == {AMI, *in_place}
    assert made_since(cloud, before) == []


def test_up_rolls_to_the_new_ami_and_only_then_deletes_the_old_one(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    old, before = told.outputs, len(cloud.calls())
    stack.up("--skip-preview")
    new = told.outputs = stack.outputs()
    assert new["amiId"] != old["amiId"]
    assert new["launchTemplateVersion"] == old["launchTemplateVersion"] + 1
    assert new["launchTemplateId"] == old["launchTemplateId"]
    assert new["computeEnvironmentArn"] == old["computeEnvironmentArn"]
    assert new["jobDefinitionArn"] != old["jobDefinitionArn"]
    assert new["manifest"]["images"][0]["digest"] == told.digests[1]
    assert_batch_uses_the_ami(cloud, new)
    assert_inventory_is_one_stack(cloud, new)
    order = [
        "ec2:CreateImage",
        "ec2:CreateLaunchTemplateVersion",
        "batch:UpdateComputeEnvironment",
        "batch:RegisterJobDefinition",
        "ec2:DeregisterImage",
    ]
    assert [call for call in made_since(cloud, before) if call in order] == order


def test_another_models_bytes_replace_the_ami_too(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    key = change_a_model(cloud.client("s3"), "local-ml-models", "models/")
    plan = stack.plan()
    assert f"  model {key.rpartition('/')[2]}: " in plan.told
    assert plan.operations[AMI] in REPLACED
    old = told.outputs
    stack.up("--skip-preview")
    told.outputs = stack.outputs()
    assert told.outputs["amiId"] != old["amiId"]
    assert told.outputs["manifest"]["images"] == old["manifest"]["images"]
    assert told.outputs["manifest"]["models"] != old["manifest"]["models"]
    assert_batch_uses_the_ami(cloud, told.outputs)
    assert_inventory_is_one_stack(cloud, told.outputs)


def test_another_site_replaces_nothing(cloud: LocalCloud, stack: Stack, told: Told) -> None:
    stack.set(
        build={"instanceTypes": ["g4dn.xlarge"], "timeouts": {"pull": 99}},
        tags={"environment": "local", "colour": "blue"},
    )
    assert stack.plan().operations[AMI] == "update"
    stack.up("--skip-preview")
    assert stack.outputs() | {"jobDefinitionArn": "", "launchTemplateVersion": 0} == (
        told.outputs | {"jobDefinitionArn": "", "launchTemplateVersion": 0}
    )
    told.outputs = stack.outputs()
    image = in_aws(cloud, told.outputs)["image"]
    assert {"Key": "colour", "Value": "blue"} in image["Tags"]
    assert_batch_uses_the_ami(cloud, told.outputs)


def publication_of(cloud: LocalCloud, ami: str, region: str) -> dict[str, Any]:
    """How an AMI stands in EC2: who may launch it, until when, whether it is protected."""
    ec2 = cloud.client("ec2", region)
    (image,) = ec2.describe_images(ImageIds=[ami])["Images"]
    shared = ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")
    return {
        "shared with": [one["UserId"] for one in shared["LaunchPermissions"]],
        "deprecated": bool(image.get("DeprecationTime")),
        "protected": image["DeregistrationProtection"] == "enabled-without-cooldown",
    }


def test_publication_is_made_put_right_and_taken_back_in_place(
    cloud: LocalCloud, stack: Stack, told: Told
) -> None:
    ami, home = told.outputs["amiId"], "ap-northeast-2"
    bare = publication_of(cloud, ami, home)
    asked = {
        "shareWith": ["111111111111"],
        "copies": [{"region": "us-west-2"}],
        "deprecateAfterDays": 30,
        "deregistrationProtection": True,
    }
    stack.set(publication=asked)
    plan = stack.plan()
    assert plan.operations == {AMI: "update"}
    for line in (
        "the AMI stays; changed in place:",
        "  shared with: 111111111111",
        "  copy in us-west-2: made",
        "  deprecated, days after its creation: none -> 30",
        "  protected against deregistration: none -> yes",
    ):
        assert line in plan.told
    stack.up("--skip-preview")
    made = {"shared with": ["111111111111"], "deprecated": True, "protected": True}
    held = cloud.inventory()
    (copy,) = {image["id"] for image in held["image"]} - {ami}
    assert len(held["snapshot"]) == 2
    assert publication_of(cloud, ami, home) == publication_of(cloud, copy, "us-west-2") == made
    assert stack.outputs() == told.outputs
    stack.up("--skip-preview", "--expect-no-changes")

    # Somebody takes the sharing away, and deletes the copy.
    cloud.client("ec2").reset_image_attribute(ImageId=ami, Attribute="launchPermission")
    there = cloud.client("ec2", "us-west-2")
    there.disable_image_deregistration_protection(ImageId=copy)
    there.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)
    assert stack.pulumi("refresh", "--yes", "--non-interactive").status == 0
    plan = stack.plan()
    assert plan.operations[AMI] == "update"
    assert "the AMI is not published as asked, and is put right:" in plan.told
    assert "  it is not shared with 111111111111" in plan.told
    assert "  there is no copy in us-west-2" in plan.told
    stack.up("--skip-preview")
    assert publication_of(cloud, ami, home) == made
    assert [len(cloud.inventory()[kind]) for kind in ("image", "snapshot")] == [2, 2]

    stack.set(publication=None, keep="1")
    plan = stack.plan()
    assert plan.operations == {AMI: "update"}
    assert "  copy in us-west-2: deleted, with its snapshots" in plan.told
    assert "  earlier AMIs that stay: 0 -> 1" in plan.told
    stack.up("--skip-preview")
    assert publication_of(cloud, ami, home) == bare
    assert_inventory_is_one_stack(cloud, told.outputs)


def test_destroy_leaves_nothing(cloud: LocalCloud, stack: Stack) -> None:
    run = stack.pulumi("destroy", "--yes", "--non-interactive", "--color", "never")
    assert run.status == 0, run.text
    held = cloud.inventory()
    assert {kind: things for kind, things in held.items() if things} == {}, json.dumps(held)
