"""An example of the project in a folder of its own, on a local cloud in this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3

from local_cloud.cloud import Cloud
from local_cloud.environment import client_environment

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
SECONDS = 600.0
"""Until anything that is waited for counts as never coming; nothing takes nearly as long."""


def until(look: Callable[[], T | None], what: str) -> T:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come about")


@dataclass(frozen=True)
class Run:
    """A run of the Pulumi CLI that has ended; `text` is what a person saw."""

    status: int
    text: str


@dataclass
class Example:
    """A stack of an example program."""

    cloud: Cloud
    folder: Path
    environment: dict[str, str]

    def set(self, **settings: str | None) -> None:
        for key, value in settings.items():
            self.do("config", *(("rm", key) if value is None else ("set", key, value)))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.folder, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def attempt(self, *arguments: str) -> Run:
        return ended(self.start(*arguments))

    def do(self, *arguments: str) -> str:
        run = self.attempt(*arguments)
        assert run.status == 0, run.text
        return run.text

    def up(self) -> dict[str, Any]:
        """Bring it up; its outputs."""
        self.do("up", "--yes", "--skip-preview")
        return self.outputs()

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("stack", "output", "--json"))
        return found

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.cloud.endpoint,
            region_name=self.cloud.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


def ended(process: subprocess.Popen[str]) -> Run:
    text, _ = process.communicate()
    return Run(process.returncode, text)


@contextmanager
def open_example(cloud: Cloud, name: str, folder: Path) -> Iterator[Example]:
    """A copy of the example with a new stack; the project itself stays where it is."""
    copied = folder / name
    shutil.copytree(ROOT / "examples" / name, copied)
    environment = client_environment(cloud) | {
        "PYTHONPATH": str(ROOT),
        "PULUMI_HOME": os.environ.get("PULUMI_HOME", ""),
    }
    assert shutil.which("pulumi", path=environment["PATH"]), "no Pulumi CLI: run `make setup`"
    example = Example(cloud, copied, environment)
    example.do("stack", "init", "test")
    yield example
