"""Runs commands in this process on a local cloud, and keeps their output as readable examples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from ami_provider.cli import main
from tests.ami_provider.clouds import GROUP, PROFILE, SUBNETS, Bakery, open_bakery

EXAMPLES = Path(__file__).parent / "examples"
LINEAGE = "shop/ci/gpu"


@dataclass
class Shell:
    """A person at a terminal-less shell, with a recipe file in a folder of their own."""

    bakery: Bakery
    folder: Path

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), prog_name="python -m ami_provider")

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output + done.stderr
        return json.loads(done.stdout)

    def write(self, name: str = "recipe.yaml", **changes: Any) -> str:
        """A recipe file of the seed's image and models; changes are parts of it."""
        return self.put(name, yaml.safe_dump(self.inputs() | changes, sort_keys=False))

    def put(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def inputs(self) -> dict[str, Any]:
        cloud = self.bakery.cloud
        registry = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com"
        return {
            "lineage": {"project": "shop", "stack": "ci", "name": "gpu"},
            "recipe": {
                "images": [{"repository": f"{registry}/batch-processor", "tag": "latest"}],
                "models": [
                    {"source": "s3://local-ml-models/models/", "destination": "/opt/ml/models/"}
                ],
            },
            "site": {
                "region": cloud.region,
                "subnet_ids": list(SUBNETS),
                "security_group_ids": [GROUP],
                "instance_profile": PROFILE,
            },
            "tags": {"team": "vision"},
        }

    def with_recipe(self, **changes: Any) -> dict[str, Any]:
        return {**self.inputs()["recipe"], **changes}

    def list_changes(self, act: Callable[[], object]) -> list[str]:
        """The AWS actions that may change something, among those that `act` asks for."""
        before = len(self.bakery.cloud.calls.read())
        act()
        calls = self.bakery.cloud.calls.read()[before:]
        return [c["action"] for c in calls if c["mutating"]]


@contextmanager
def open_shell(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[Shell]:
    """A recorded cloud, whose region is the shell's."""
    with open_bakery(patch, real=False) as bakery:
        patch.setenv("AWS_REGION", bakery.cloud.region)
        patch.chdir(folder)
        yield Shell(bakery, folder)


def check_example(name: str, command: str, done: Result) -> None:
    """Hold a command's output against `examples/NAME.txt`, in which what differs from run to run
    is replaced. BAKED_AMI_EXAMPLES=write writes the file instead."""
    shown = f"$ python -m ami_provider {command}\n{done.stdout}"
    if done.stderr:
        shown += f"(stderr)\n{done.stderr}"
    if done.exit_code:
        shown += f"(exit code {done.exit_code})\n"
    text, file = _steady(shown), EXAMPLES / f"{name}.txt"
    if os.environ.get("BAKED_AMI_EXAMPLES") == "write":
        file.write_text(text)
    assert file.read_text() == text, f"another output than {file.name}; is it better?"


def _steady(text: str) -> str:
    seen: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        digits = len(found[2])
        prefix, whole = found[1], found[0]
        if whole not in seen:
            count = sum(1 for one in seen if one.startswith(prefix)) + 1
            seen[whole] = prefix + f"{count:0{digits}x}"
        return seen[whole]

    text = re.sub(r"\b(ami-|snap-|i-|vol-|sg-|sha256:|igw-)([0-9a-f]{12,64})\b", number, text)
    text = re.sub(r"(baked-ami-[a-z]+-)([0-9a-f]{16})\b", number, text)
    text = re.sub(r"(fingerprint\W+)([0-9a-f]{64})", lambda f: f[1] + "f" * 64, text)
    text = re.sub(r"(sha256 )([0-9a-f]{12})…", lambda f: f[1] + "0" * 12 + "…", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-11-25 12:00", text)
    text = re.sub(r"(AMI 2\.0\.|ebs|hvm-)(\d{8})", r"\g<1>00000000", text)
    # What a recorded machine took is next to nothing, but not always the same.
    return re.sub(r"^(.*\S)  +\d+ s$", r"\1  … s", text, flags=re.M)
