"""Stacks of the example program on the real engine, and the whole of what their account holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.program.changes import push_another_image
from tests.program.conftest import ROOT, LocalCloud

EXAMPLE = ROOT / "examples" / "one_ami"
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
ACCESS = ("role", "instance profile")
"""What one stack of the example holds beside AMIs and their snapshots."""


@dataclass(frozen=True)
class Stack:
    """One stack of the example program, in a copy of its folder."""

    cloud: LocalCloud
    name: str
    folder: Path
    code: Path = ROOT
    """Where the program finds `ami_provider`."""

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
            cwd=self.folder, env={**self.cloud.environment, "PYTHONPATH": str(self.code)},
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def up(self) -> str:
        """Bring it up; the AMI's ID."""
        self.run("up", "--yes", "--skip-preview")
        return self.outputs()["amiId"]  # type: ignore[no-any-return]

    def destroy(self) -> str:
        return self.run("destroy", "--yes", "--skip-preview")

    def state_of_ami(self) -> dict[str, Any]:
        """All that the state keeps of the AMI: inputs and outputs, but for the provider's name."""
        state = json.loads(self.run("stack", "export"))["deployment"]["resources"]
        (found,) = (one["outputs"] for one in state if one["type"].endswith(":BakedAmi"))
        return {key: value for key, value in found.items() if key != "__provider"}

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json"))
        return found


def create_stacks(cloud: LocalCloud, folder: Path, *names: str) -> list[Stack]:
    """New stacks of one copy of the example: the engine writes their settings beside it."""
    copied = folder / "one_ami"
    shutil.copytree(EXAMPLE, copied)
    stacks = [Stack(cloud, name, copied) for name in names]
    for stack in stacks:
        stack.run("stack", "init")
        stack.set(**SETTINGS)
    return stacks


def change_code(folder: Path) -> Path:
    """A folder with another version of the provider's code, which is also pickled otherwise."""
    shutil.copytree(ROOT / "ami_provider", folder / "ami_provider")
    file = folder / "ami_provider" / "provider.py"
    before = file.read_text()
    after = before.replace(
        "    serialize_as_secret_always = False\n",
        "    serialize_as_secret_always = False\n\n"
        "    def __init__(self) -> None:\n        self.version = 2\n",
    )
    assert after != before
    file.write_text(after)
    return folder


@dataclass
class Account:
    """What is in the AWS account, and how many machines were ever launched there."""

    cloud: LocalCloud

    def holds(self, *images: str, stacks: int) -> bool:
        """Whether these AMIs, their snapshots and the stacks' roles are all there is.

        Shows what differs. Every kind of thing that an account can hold is looked at.
        """
        inventory = self.cloud.inventory()
        found = Counter(
            (kind, thing["id"] if kind in ("image", "snapshot") else "")
            for kind, things in inventory.items()
            for thing in things
        )
        wanted = Counter({(kind, ""): stacks for kind in ACCESS if stacks})
        wanted.update(("image", image) for image in images)
        wanted.update(("snapshot", snapshot) for snapshot in self._snapshots(images))
        assert found == wanted, {kind: things for kind, things in inventory.items() if things}
        return True

    def launches(self) -> int:
        return sum(call["action"] == "RunInstances" for call in self.cloud.calls())

    def tags(self, image: str) -> dict[str, str]:
        (found,) = self.cloud.client("ec2").describe_images(ImageIds=[image])["Images"]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}

    def _snapshots(self, images: tuple[str, ...]) -> list[str]:
        if not images:
            return []
        found = self.cloud.client("ec2").describe_images(ImageIds=list(images))["Images"]
        return [d["Ebs"]["SnapshotId"] for image in found for d in image["BlockDeviceMappings"]]


def push_version(ecr: Any, tag: str, base: str = "latest") -> None:
    """Another image under this tag: that of `base` with one more change."""
    (found,) = ecr.batch_get_image(repositoryName="batch-processor", imageIds=[{"imageTag": base}])[
        "images"
    ]
    ecr.put_image(
        repositoryName="batch-processor",
        imageManifest=found["imageManifest"],
        imageManifestMediaType=found["imageManifestMediaType"],
        imageTag=tag,
    )
    push_another_image(ecr, "batch-processor", tag)
