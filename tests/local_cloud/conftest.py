"""Local clouds for tests: in this process, machines recorded or real, or as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_cloud.cloud import Cloud

REGION = "ap-northeast-2"
Clients = Callable[..., Any]


def client_of(endpoint: str, service: str, *, region: str = REGION, **config: Any) -> Any:
    """A plain boto3 client that tries once, so that a test sees what the cloud answered."""
    settings: dict[str, Any] = {"retries": {"total_max_attempts": 1}} | config
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(parameter_validation=False, **settings),
    )


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A cloud in this process whose machines are recorded."""
    with Cloud(real=False, say=lambda text: None) as one:
        yield one


@pytest.fixture
def real_cloud() -> Iterator[Cloud]:
    """A cloud in this process whose machines run. Mark its tests with `machines`."""
    with Cloud(real=True) as one:
        assert one.real, "these tests need machines that run: root on Linux"
        yield one


@pytest.fixture
def aws(cloud: Cloud) -> Clients:
    """Makes boto3 clients of the cloud: `aws("ec2")`."""

    def make(service: str, **options: Any) -> Any:
        return client_of(cloud.endpoint, service, **options)

    return make


class Process:
    """`python -m local_cloud serve` in a process of its own."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.stderr_path = folder / f"serve-{len(list(folder.iterdir()))}.err"
        with self.stderr_path.open("w") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "local_cloud", "serve", *arguments],
                stdout=subprocess.PIPE, stderr=stderr, text=True,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        self.ready: dict[str, Any] = json.loads(line) if line else {}

    @property
    def endpoint(self) -> str:
        return str(self.ready["endpoint"])

    @property
    def said(self) -> str:
        return self.stderr_path.read_text()

    def client(self, service: str, **options: Any) -> Any:
        return client_of(self.endpoint, service, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.popen.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts clouds as processes; all are stopped at the end."""
    started: list[Process] = []
    folder = tmp_path / "said"
    folder.mkdir()

    def start(*arguments: str) -> Process:
        process = Process("--recorded", *arguments, folder=folder)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


def local_cloud(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m local_cloud` to its end."""
    kept = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL"}
    return subprocess.run(
        [sys.executable, "-m", "local_cloud", *arguments],
        capture_output=True, text=True, env=kept | environment, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
