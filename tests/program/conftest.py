"""The real program on the real engine: a local cloud, and a stack whose settings tests may edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

ROOT = Path(__file__).parents[2]

# Runs inside the local cloud, tells its environment, and stays until its input is closed.
HOLD = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"

DENIED_BUCKET = "denied-models"
FAULTS = [
    {
        "service": "s3",
        "fault": "error",
        "code": "AccessDenied",
        "message": "Access Denied",
        "status": 403,
        "when": {"Bucket": DENIED_BUCKET},
    }
]


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud with its seed, seen from outside."""

    environment: dict[str, str]

    def client(self, service: str, region: str | None = None) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=region or self.environment["AWS_REGION"],
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def calls(self) -> list[dict[str, Any]]:
        """Every AWS call so far, oldest first."""
        found: list[dict[str, Any]] = self._ask("calls")["calls"]
        return found

    def inventory(self) -> dict[str, Any]:
        return self._ask("inventory")

    def _ask(self, question: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            subprocess.run(
                [sys.executable, "-m", "local_cloud", question, "--json"],
                cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True,
            ).stdout
        )  # fmt: skip
        return answer


@dataclass(frozen=True)
class Run:
    """One run of the Pulumi CLI. `text` is what a person would have seen."""

    status: int
    text: str


@dataclass(frozen=True)
class Plan:
    """What a preview would do: the operation by resource type, without `same`; and its messages."""

    operations: dict[str, str]
    told: str


@dataclass(frozen=True)
class Stack:
    """A stack of the program, with a settings file of its own that tests may change."""

    cloud: LocalCloud
    name: str
    config: Path
    settings: dict[str, Any]
    rest: dict[str, Any]

    def set(self, **settings: Any) -> None:
        """Write these settings over the file's; None takes one away."""
        for key, value in settings.items():
            if value is None:
                self.settings.pop(f"baked-ami:{key}", None)
            else:
                self.settings[f"baked-ami:{key}"] = value
        self.config.write_text(yaml.safe_dump({**self.rest, "config": self.settings}))

    def pulumi(self, *arguments: str) -> Run:
        """Run the CLI on this stack; whatever it prints is kept, whether it fails or not."""
        done = subprocess.run(
            ["pulumi", *arguments, "--stack", self.name, "--config-file", str(self.config)],
            cwd=ROOT, env=self.cloud.environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def up(self, *arguments: str) -> Run:
        run = self.pulumi("up", "--yes", "--non-interactive", "--color", "never", *arguments)
        assert run.status == 0, run.text
        return run

    def preview(self, *arguments: str) -> Run:
        """A preview as a person sees it, successful or not."""
        return self.pulumi("preview", "--non-interactive", "--color", "never", *arguments)

    def plan(self) -> Plan:
        """A successful preview as the engine's own account of it."""
        done = subprocess.run(
            ["pulumi", "preview", "--json", "--stack", self.name,
             "--config-file", str(self.config)],
            cwd=ROOT, env=self.cloud.environment, check=False, text=True, capture_output=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        account = json.loads(done.stdout)
        operations = {
            step["urn"].split("::")[2].rpartition("$")[2]: step["op"]
            for step in account["steps"]
            if step["op"] != "same"
        }
        told = "\n".join(one["message"] for one in account.get("diagnostics", []))
        return Plan(operations, told)

    def outputs(self) -> dict[str, Any]:
        run = subprocess.run(
            ["pulumi", "stack", "output", "--json", "--stack", self.name],
            cwd=ROOT, env=self.cloud.environment, check=True, text=True, capture_output=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(run.stdout)
        return found


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    """Further options of the local cloud; a module overrides this where it needs others."""
    return ()


@contextmanager
def open_cloud(*options: str) -> Iterator[LocalCloud]:
    """A local cloud until the end of the block, with the Pulumi CLI on its PATH."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PULUMI_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    assert shutil.which("pulumi", path=environment["PATH"]), "no Pulumi CLI: run `make setup`"
    process = subprocess.Popen(
        [sys.executable, "-m", "local_cloud", "run", *options, "--", sys.executable, "-c", HOLD],
        cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first, "the local cloud did not start"
        yield LocalCloud(json.loads(first))
    finally:
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, cloud_options: tuple[str, ...]
) -> Iterator[LocalCloud]:
    """A local cloud that lives as long as a module's tests."""
    faults = tmp_path_factory.mktemp("cloud") / "faults.json"
    faults.write_text(json.dumps(FAULTS))
    with open_cloud(*cloud_options, "--faults", str(faults)) as found:
        yield found


@pytest.fixture(scope="module")
def stack(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A new stack named `local` with the settings of Pulumi.local.yaml, in a file of its own."""
    config = tmp_path_factory.mktemp("stack") / "Pulumi.local.yaml"
    document = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    made = Stack(cloud, "local", config, document.pop("config"), document)
    made.set()
    run = subprocess.run(
        ["pulumi", "stack", "init", made.name],
        cwd=ROOT, env=cloud.environment, check=False, text=True, capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return made
