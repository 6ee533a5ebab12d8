"""The life of an AMI that two stacks share, told by the example program on the real engine.

Told in order: each test goes on where the last ended, and after each the account's whole inventory
is what it has to be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.ami_provider.clouds import create_profile
from tests.ami_provider.stacks import Account, Stack, change_code, create_stacks, push_version
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("life")]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    """What the engine and AWS's state do is looked at; the machines may be recorded."""
    return ("--recorded",)


@dataclass
class Story:
    """`dev` and `prod` in one account, and the AMIs so far."""

    dev: Stack
    prod: Stack
    account: Account
    folder: Path
    first: str = ""
    second: str = ""
    third: str = ""


@pytest.fixture(scope="module")
def story(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("life")
    dev, prod = create_stacks(cloud, folder, "dev", "prod")
    return Story(dev, prod, Account(cloud), folder)


def test_create(story: Story) -> None:
    foreseen = story.dev.run("preview")
    assert "no AMI has this content yet: one is baked." in foreseen
    assert "it takes about " in foreseen
    assert "the bake costs about " in foreseen
    assert story.account.holds(stacks=0)
    story.first = story.dev.up()
    assert "/opt/ml/models/detector.pt" in story.dev.outputs()["modelChecksums"]
    assert story.account.holds(story.first, stacks=1)


def test_no_change(story: Story) -> None:
    before = len(story.account.cloud.calls())
    story.dev.run("up", "--yes", "--skip-preview", "--expect-no-changes")
    calls = story.account.cloud.calls()[before:]
    assert [call["action"] for call in calls if call["mutating"]] == []
    assert story.account.holds(story.first, stacks=1)


def test_other_code_of_the_provider_is_no_change(story: Story) -> None:
    """From here on `dev` runs another version of it, pickled into the state otherwise."""
    story.dev = replace(story.dev, code=change_code(story.folder / "newer"))
    story.dev.run("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert story.account.holds(story.first, stacks=1)


def test_promotion_from_dev_to_prod(story: Story) -> None:
    launched = story.account.launches()
    assert story.prod.up() == story.first, "the same content is used, not baked"
    assert story.account.launches() == launched
    assert story.account.holds(story.first, stacks=2)


def test_update_in_place(story: Story) -> None:
    before = story.dev.state_of_ami()
    story.dev.set(team="audio")
    told = story.dev.run("preview", "--diff")
    assert "replace" not in told
    assert "the AMI stays; changed in place:" in told
    assert "tag team: vision -> audio" in told
    assert story.dev.up() == story.first
    assert story.account.tags(story.first)["team"] == "audio"
    assert story.dev.state_of_ami() == before | {"tags": {"team": "audio"}}
    assert story.account.holds(story.first, stacks=2)


def test_replace(story: Story, cloud: LocalCloud) -> None:
    push_version(cloud.client("ecr"), "v2")
    story.prod.set(imageTag="v2")
    told = story.prod.run("preview")
    assert "the AMI is replaced, because its content changes:" in told
    assert "image batch-processor:v2: digest sha256:" in told
    story.second = story.prod.up()
    assert story.account.holds(story.first, story.second, stacks=2), "dev still owns the first"


def test_rollback_by_the_old_tag(story: Story) -> None:
    launched = story.account.launches()
    story.prod.set(imageTag="latest")
    told = f"{story.first} has this content already and is verified"
    assert told in story.prod.run("preview")
    assert story.prod.up() == story.first, "what is there is used"
    assert story.account.launches() == launched
    assert story.account.holds(story.first, stacks=2)


def test_destroy_of_one_of_two_owners(story: Story) -> None:
    story.dev.destroy()
    assert story.account.holds(story.first, stacks=1), "prod still owns it"
    story.prod.run("preview", "--expect-no-changes")


def test_refresh_after_the_ami_was_deleted_by_hand(story: Story, cloud: LocalCloud) -> None:
    cloud.client("ec2").deregister_image(ImageId=story.first)
    told = story.prod.run("refresh", "--yes", "--skip-preview")
    assert "it was deregistered outside of this stack" in told
    story.third = story.prod.up()
    assert story.third not in (story.first, story.second)
    assert story.account.holds(story.third, stacks=1), "the first one's snapshots went with it"


def test_refresh_after_ami_and_snapshots_were_deleted_by_hand(
    story: Story, cloud: LocalCloud
) -> None:
    """Nothing is left of it: the resource drops out of the state, and is made again."""
    cloud.client("ec2").deregister_image(ImageId=story.third, DeleteAssociatedSnapshots=True)
    story.prod.run("refresh", "--yes", "--skip-preview")
    assert "no AMI has this content yet" in story.prod.run("preview")
    story.third = story.prod.up()
    assert story.account.holds(story.third, stacks=1)


def test_refresh_after_the_ami_was_disabled_by_hand(story: Story, cloud: LocalCloud) -> None:
    cloud.client("ec2").disable_image(ImageId=story.third)
    told = story.prod.run("refresh", "--yes", "--skip-preview")
    assert "it is made available again" in told
    assert story.prod.up() == story.third
    (found,) = cloud.client("ec2").describe_images(ImageIds=[story.third])["Images"]
    assert found["State"] == "available"
    assert story.account.holds(story.third, stacks=1)


def test_destroy_is_refused_while_a_machine_runs(story: Story, cloud: LocalCloud) -> None:
    ec2 = cloud.client("ec2")
    machine = ec2.run_instances(
        ImageId=story.third, InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    done = story.prod.try_run("destroy", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert f"the AMI {story.third} is still in use" in done.stdout
    assert f"machine {machine} (" in done.stdout
    assert "Traceback" not in done.stdout
    assert [image["id"] for image in cloud.inventory()["image"]] == [story.third]
    ec2.terminate_instances(InstanceIds=[machine])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[machine])


def test_destroy_of_the_last_owner(story: Story) -> None:
    story.prod.destroy()
    assert story.account.holds(stacks=0)


def test_repository_and_bucket_may_be_of_the_same_program(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    """At the first preview neither is known: what else is wrong shows, and then it is baked."""
    create_profile(cloud.client("iam"))
    (tmp_path / "Pulumi.yaml").write_text("name: together\nruntime: python\n")
    (tmp_path / "__main__.py").write_text((HERE / "program_of_its_own.py").read_text())
    stack, account = Stack(cloud, "dev", tmp_path), Account(cloud)
    stack.run("stack", "init")
    stack.set(subnetId="subnet-00000000000000000")
    refused = stack.try_run("preview")
    assert refused.returncode != 0
    assert "there is no subnet subnet-00000000000000000" in refused.stdout
    stack.set(subnetId="subnet-0a10ca10000000001")
    told = stack.run("preview")
    assert "once all inputs are known" in told
    ami = stack.up()
    manifest = stack.state_of_ami()["manifest"]
    assert manifest["images"][0]["repository"].endswith("/of-this-program")
    assert manifest["models"][0]["sha256"], json.dumps(manifest)
    stack.run("preview", "--expect-no-changes")
    assert [image["id"] for image in cloud.inventory()["image"]] == [ami]
    stack.destroy()
    held = cloud.inventory()
    assert (held["image"], held["snapshot"], held["machine"], held["volume"]) == ([], [], [], [])
    assert account.launches() > 0
