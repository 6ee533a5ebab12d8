"""The life of an AMI that two stacks share, told by the example program on the real engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.program.changes import push_another_image
from tests.program.conftest import ROOT, LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("life")]

PROGRAM = ROOT / "examples" / "one_ami"
REPOSITORY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor"
SETTINGS = {
    "aws:region": "ap-northeast-2",
    "repositoryUrl": REPOSITORY,
    "imageTag": "latest",
    "models": "s3://local-ml-models/models/",
    "subnetId": "subnet-0a10ca10000000001",
    "securityGroupId": "sg-0a10ca1000000000f",
    "team": "vision",
}


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    """What the engine and AWS's state do is looked at; the machines may be recorded."""
    return ("--recorded",)


@dataclass(frozen=True)
class Stack:
    """One stack of the example program."""

    cloud: LocalCloud
    name: str

    def set(self, **settings: str) -> None:
        for key, value in settings.items():
            self.run("config", "set", key, value)

    def run(self, *arguments: str) -> str:
        """What the CLI printed; it has to succeed."""
        done = self.try_run(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def try_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color", "never"],
            cwd=PROGRAM, env={**self.cloud.environment, "PYTHONPATH": str(ROOT)},
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def up(self) -> str:
        """Bring it up; the AMI's ID."""
        self.run("up", "--yes", "--skip-preview")
        return self.outputs()["amiId"]  # type: ignore[no-any-return]

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json"))
        return found


@dataclass
class Account:
    """What is in the AWS account, and how many machines were ever launched there."""

    cloud: LocalCloud

    def images(self) -> set[str]:
        return {image["ImageId"] for image in self._own_images()}

    def leftovers(self) -> tuple[set[str], set[str]]:
        """Snapshots that are behind no AMI, and machines that still run."""
        ec2 = self.cloud.client("ec2")
        behind = {
            disk["Ebs"]["SnapshotId"]
            for image in self._own_images()
            for disk in image["BlockDeviceMappings"]
        }
        snapshots = {
            s["SnapshotId"] for s in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        }
        machines = {
            machine["InstanceId"]
            for found in ec2.describe_instances()["Reservations"]
            for machine in found["Instances"]
            if machine["State"]["Name"] != "terminated"
        }
        return snapshots - behind, machines

    def launches(self) -> int:
        return sum(call["action"] == "RunInstances" for call in self.cloud.calls())

    def tags(self, image: str) -> dict[str, str]:
        (found,) = self.cloud.client("ec2").describe_images(ImageIds=[image])["Images"]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}

    def _own_images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cloud.client("ec2").describe_images(Owners=["self"])[
            "Images"
        ]
        return found


@pytest.fixture(scope="module")
def account(cloud: LocalCloud) -> Account:
    return Account(cloud)


@pytest.fixture(scope="module")
def stacks(cloud: LocalCloud) -> Iterator[tuple[Stack, Stack]]:
    """`dev` and `prod` in one account; their settings files are removed afterwards."""
    both = (Stack(cloud, "dev"), Stack(cloud, "prod"))
    for stack in both:
        stack.run("stack", "init")
        stack.set(**SETTINGS)
    yield both
    for stack in both:
        Path(PROGRAM / f"Pulumi.{stack.name}.yaml").unlink(missing_ok=True)


def push_version(ecr: Any, tag: str) -> None:
    """Another image beside `latest`, under this tag."""
    (latest,) = ecr.batch_get_image(
        repositoryName="batch-processor", imageIds=[{"imageTag": "latest"}]
    )["images"]
    ecr.put_image(
        repositoryName="batch-processor",
        imageManifest=latest["imageManifest"],
        imageManifestMediaType=latest["imageManifestMediaType"],
        imageTag=tag,
    )
    push_another_image(ecr, "batch-processor", tag)


def test_two_stacks_share_an_ami_from_its_bake_to_its_end(
    stacks: tuple[Stack, Stack], account: Account, cloud: LocalCloud
) -> None:
    dev, prod = stacks
    told = dev.run("preview")
    assert "no AMI has this content yet: one is baked." in told
    first = dev.up()
    assert account.images() == {first}
    assert account.leftovers() == (set(), set())
    assert "/opt/ml/models/detector.pt" in dev.outputs()["modelChecksums"]
    launched = account.launches()

    dev.run("preview", "--expect-no-changes")
    assert prod.up() == first, "promotion: the same content is used, not baked"
    assert account.launches() == launched

    dev.set(team="audio")
    told = dev.run("preview", "--diff")
    assert "replace" not in told
    assert dev.up() == first
    assert account.tags(first)["team"] == "audio"

    push_version(cloud.client("ecr"), "v2")
    prod.set(imageTag="v2")
    told = prod.run("preview")
    assert "the AMI is replaced, because its content changes:" in told
    assert "image batch-processor:v2: digest sha256:" in told
    second = prod.up()
    assert account.images() == {first, second}, "dev still owns the first"
    assert account.leftovers() == (set(), set())
    launched = account.launches()

    prod.set(imageTag="latest")
    assert f"{first} has this content already and is verified" in prod.run("preview")
    assert prod.up() == first, "rollback: what is there is used"
    assert account.launches() == launched
    assert account.images() == {first}

    dev.run("destroy", "--yes", "--skip-preview")
    assert account.images() == {first}, "prod still owns it"
    prod.run("preview", "--expect-no-changes")

    cloud.client("ec2").deregister_image(ImageId=first)
    told = prod.run("refresh", "--yes", "--skip-preview")
    assert "it was deregistered outside of this stack" in told
    third = prod.up()
    assert third != first
    assert account.images() == {third}
    assert account.leftovers() == (set(), set()), "the first one's snapshots went with it"

    cloud.client("ec2").disable_image(ImageId=third)
    assert "it is made available again" in prod.run("refresh", "--yes", "--skip-preview")
    assert prod.up() == third
    (found,) = cloud.client("ec2").describe_images(ImageIds=[third])["Images"]
    assert found["State"] == "available"

    prod.run("destroy", "--yes", "--skip-preview")
    left = {kind: things for kind, things in cloud.inventory().items() if things}
    assert left == {}
