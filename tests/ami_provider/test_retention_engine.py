"""Earlier AMIs that stay for a rollback, told by the example program on the real engine.

Told in order: each test goes on where the last ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.ami_provider.stacks import Account, Stack, create_stacks, push_version
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("retention")]


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ("--recorded",)


@dataclass
class Story:
    """One stack that keeps two earlier AMIs; `made` has all that were baked, in their order."""

    stack: Stack
    account: Account
    made: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Story:
    (stack,) = create_stacks(cloud, tmp_path_factory.mktemp("retention"), "prod")
    stack.set(keep="2")
    return Story(stack, Account(cloud))


def test_over_five_rebuilds_the_last_two_stay(story: Story, cloud: LocalCloud) -> None:
    story.made.append(story.stack.up())
    for version in range(1, 6):
        base = f"v{version - 1}" if version > 1 else "latest"
        push_version(cloud.client("ecr"), f"v{version}", base)
        story.stack.set(imageTag=f"v{version}")
        story.made.append(story.stack.up())
        assert story.account.holds(*story.made[-3:], stacks=1)
    assert len(set(story.made)) == 6


def test_a_rollback_to_a_kept_one_launches_no_machine(story: Story) -> None:
    """And the way forward stays open as well."""
    launched = story.account.launches()
    for tag, wanted in (("v3", story.made[3]), ("v5", story.made[5])):
        story.stack.set(imageTag=tag)
        assert f"{wanted} has this content already" in story.stack.run("preview")
        assert story.stack.up() == wanted
        assert story.account.holds(*story.made[-3:], stacks=1)
    assert story.account.launches() == launched


def test_one_in_use_is_not_removed_and_the_rest_goes_on(story: Story, cloud: LocalCloud) -> None:
    """Keeping fewer is an update in place; what a machine still runs from waits for the next."""
    ec2 = cloud.client("ec2")
    machine = ec2.run_instances(
        ImageId=story.made[4], InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    story.stack.set(keep="0")
    told = story.stack.run("up", "--yes", "--skip-preview")
    assert f"{story.made[4]}, an earlier AMI, stays for now: machine {machine} (" in told
    assert story.stack.outputs()["amiId"] == story.made[5]
    held = {image["id"] for image in cloud.inventory()["image"]}
    assert held == {story.made[4], story.made[5]}
    ec2.terminate_instances(InstanceIds=[machine])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[machine])


def test_destroy_removes_the_lineages_all(story: Story) -> None:
    story.stack.destroy()
    assert story.account.holds(stacks=0)
