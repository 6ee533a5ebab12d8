"""What keeps an AMI from being deleted, and how it is named to the reader; on recorded machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ami_provider import waiting
from ami_provider.bake import BakedImage
from ami_provider.deleting import Owner, delete_ami
from ami_provider.errors import BakeError
from local_cloud.services.ec2_model import instances
from tests.ami_provider.clouds import GROUP, PROFILE, SUBNETS, Bakery, extra, open_bakery
from tests.waiting import PATIENT, until


@pytest.fixture(scope="module")
def module_bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        yield bakery


@pytest.fixture(scope="module")
def two(module_bakery: Bakery) -> tuple[BakedImage, BakedImage]:
    """The AMI in question, and the one that has replaced it."""
    old = module_bakery.bake(module_bakery.resolve(extra_steps=extra("mark", "echo 1")))
    return old, module_bakery.bake(module_bakery.resolve(extra_steps=extra("mark", "echo 2")))


@pytest.fixture
def bakery(module_bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    monkeypatch.setattr(waiting, "FIRST_S", 0.01)
    module_bakery.said.clear()
    yield module_bakery
    ec2 = module_bakery.aws.ec2
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])


def refusal(bakery: Bakery, old: BakedImage) -> str:
    """Why the AMI is not deleted; it is still there, and available."""
    owner = Owner(bakery.aws, bakery.lineage(), bakery.said.append)
    with pytest.raises(BakeError, match=f"the AMI {old.ami_id} is still in use") as raised:
        delete_ami(old.ami_id, owner=owner, nonce=old.owner_nonce)
    assert "point the others at another AMI" in raised.value.resolution
    found = bakery.aws.ec2.describe_images(ImageIds=[old.ami_id])["Images"]
    assert [image["State"] for image in found] == ["available"]
    return raised.value.details


def make_template(bakery: Bakery, name: str, *images: str, default: int = 1) -> str:
    """A launch template whose versions have these AMIs, in this order; its ID."""
    ec2 = bakery.aws.ec2
    first, *others = images
    template = ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": first}
    )["LaunchTemplate"]["LaunchTemplateId"]
    for image in others:
        ec2.create_launch_template_version(
            LaunchTemplateId=template, LaunchTemplateData={"ImageId": image}
        )
    ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion=str(default))
    return template


Two = tuple[BakedImage, BakedImage]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_machine_in_any_state_but_terminated(bakery: Bakery, two: Two, state: str) -> None:
    ec2 = bakery.aws.ec2
    machine = ec2.run_instances(
        ImageId=two[0].ami_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0]
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[machine], WaiterConfig=PATIENT)
    if state == "stopped":
        ec2.stop_instances(InstanceIds=[machine])
        ec2.get_waiter("instance_stopped").wait(InstanceIds=[machine], WaiterConfig=PATIENT)
    assert refusal(bakery, two[0]) == f"machine {machine} ({state})"
    ec2.terminate_instances(InstanceIds=[machine])


def test_the_current_version_of_any_template(bakery: Bakery, two: Two) -> None:
    old, new = (one.ami_id for one in two)
    latest = make_template(bakery, "latest", new, old)
    default = make_template(bakery, "default", old, new)
    both = make_template(bakery, "both", old)
    assert set(refusal(bakery, two[0]).splitlines()) == {
        f"launch template latest ({latest}), latest version",
        f"launch template default ({default}), default version",
        f"launch template both ({both}), default and latest version",
    }


def test_an_old_version_of_a_template_that_does_not_follow(bakery: Bakery, two: Two) -> None:
    base = bakery.resolve().base.ami_id
    other = make_template(bakery, "other", two[0].ami_id, *[base] * 12, default=13)
    told = refusal(bakery, two[0])
    assert told.startswith(f"launch template other ({other}), old version 1 (if nobody needs it: ")
    assert f"aws ec2 delete-launch-template-versions --region {bakery.aws.region} " in told
    assert told.endswith(f"--launch-template-id {other} --versions 1)")


def test_a_parameter_of_the_account(bakery: Bakery, two: Two) -> None:
    bakery.aws.ssm.put_parameter(Name="/team/ami", Value=two[0].ami_id, Type="String")
    told = refusal(bakery, two[0])
    assert told == (
        f"ssm:Parameter arn:aws:ssm:{bakery.aws.region}:{bakery.cloud.account}:parameter/team/ami"
    )
    bakery.aws.ssm.delete_parameter(Name="/team/ami")


def test_an_environments_override_or_named_version(bakery: Bakery, two: Two) -> None:
    """The version that an environment names counts also where the template has moved on."""
    old, new = (one.ami_id for one in two)
    template = make_template(bakery, "followed", old, new, default=2)
    make_environment(bakery, "override", ec2Configuration=[
        {"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": old}])  # fmt: skip
    make_environment(bakery, "named", launchTemplate={
        "launchTemplateId": template, "version": "1"})  # fmt: skip
    make_environment(bakery, "moved", launchTemplate={
        "launchTemplateName": "followed", "version": "$Latest"})  # fmt: skip
    assert set(refusal(bakery, two[0]).splitlines()) == {
        "compute environment override",
        f"compute environment named, by version 1 of launch template {template}",
    }
    for name in ("override", "named", "moved"):
        remove_environment(bakery, name)


def test_machines_that_are_ending_and_history_keep_nothing(bakery: Bakery, two: Two) -> None:
    """The last test: the old AMI goes once its last machine has ended, while the history of
    templates still names it."""
    old, new = (one.ami_id for one in two)
    ending = launch_ending(bakery, old)
    make_template(bakery, "followed", old, new, default=2)
    make_template(bakery, "back-and-forth", new, old, new, default=3)
    make_template(bakery, "Batch-lt-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f-rev-2", old)
    owner = Owner(bakery.aws, bakery.lineage(), bakery.said.append)
    assert delete_ami(old, owner=owner, nonce=two[0].owner_nonce) == "deleted"
    assert bakery.said[0] == f"waiting for machine {ending} (shutting-down)"
    left = bakery.aws.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    assert [image["ImageId"] for image in left] == [new]


def launch_ending(bakery: Bakery, image: str) -> str:
    """A machine that is shutting down until it was looked at three times."""
    made = bakery.aws.ec2.run_instances(
        ImageId=image, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0]
    )["Instances"][0]["InstanceId"]
    bakery.aws.ec2.get_waiter("instance_running").wait(InstanceIds=[made])
    machine = instances(bakery.cloud)[made]
    machine.set_state("shutting-down")
    looks = []

    def look(**_: Any) -> None:
        looks.append(made)
        if len(looks) == 3:
            machine.set_state("terminated")

    bakery.aws.ec2.meta.events.register("after-call.ec2.DescribeInstances", look)
    return str(made)


def make_environment(bakery: Bakery, name: str, **resources: Any) -> None:
    batch = bakery.aws.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "EC2",
            "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": 4,
            "instanceTypes": ["g5.xlarge"],
            "subnets": [SUBNETS[0]],
            "securityGroupIds": [GROUP],
            "instanceRole": PROFILE,
            **resources,
        },
    )


def remove_environment(bakery: Bakery, name: str) -> None:
    batch = bakery.aws.client("batch")

    def shown() -> dict[str, Any] | None:
        found = batch.describe_compute_environments(computeEnvironments=[name])
        return next(iter(found["computeEnvironments"]), None)

    def settled() -> bool:
        one = shown()
        return not (one and one["status"].endswith("ING"))

    until(settled)
    batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
    until(settled)
    batch.delete_compute_environment(computeEnvironment=name)
    until(lambda: not shown())
