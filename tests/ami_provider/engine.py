"""The program `many_amis` on the real engine: run, killed with all its processes, looked at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ami_provider.clouds import EMPTY, create_profile
from tests.ami_provider.gate import Chosen, Gate, Moment
from tests.program.conftest import ROOT, LocalCloud

PROGRAM = ROOT / "examples" / "many_amis"
QUIET = ("--yes", "--skip-preview", "--non-interactive", "--color", "never")


@dataclass
class Engine:
    """One stack of the program. `bakes` says what it is to have: a resource's name -> content."""

    cloud: LocalCloud
    gate: Gate
    stack: str = "one"
    bakes: dict[str, str] = field(default_factory=dict)
    site: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.cloud.environment,
            "AWS_ENDPOINT_URL": self.gate.address,
            "BAKES": json.dumps(self.bakes),
            "BAKES_SITE": json.dumps(self.site),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the CLI in a session of its own, so that all of its processes can be found."""
        return subprocess.Popen(
            ["pulumi", *arguments, "--stack", self.stack],
            cwd=PROGRAM, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def start_up(
        self, at: Chosen, moment: Moment, act: Callable[[subprocess.Popen[str]], None]
    ) -> subprocess.Popen[str]:
        """Start an `up`; `act` gets it around the first call that `at` chooses (`Gate.act_at`)."""
        started: Future[subprocess.Popen[str]] = Future()
        self.gate.act_at(at, moment, lambda: act(started.result()))
        process = self.start("up", *QUIET)
        started.set_result(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        return finish(self.start(*arguments))

    def up(self) -> str:
        """Bring it up; what the CLI printed. It has to succeed."""
        status, text = self.run("up", *QUIET)
        assert status == 0, text
        return text

    def init(self) -> None:
        assert self.run("stack", "init", "--non-interactive")[0] == 0

    def unlock(self) -> None:
        """What a person does after a kill: a backend of files keeps the dead client's lock."""
        self.run("cancel", "--yes", "--non-interactive")

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json")[1])
        return found

    def destroy(self) -> None:
        status, text = self.run("destroy", *QUIET)
        assert status == 0, text

    def count(self) -> dict[str, int]:
        """As `Bakery.count`: what the account holds of what bakes make."""
        held = self.cloud.inventory()
        return {kind: len(held.get(kind[:-1], ())) for kind in EMPTY}

    def image_ids(self) -> list[str]:
        """The AMIs of the account itself."""
        images = self.cloud.client("ec2").describe_images(Owners=["self"])["Images"]
        return [image["ImageId"] for image in images]

    def count_launches(self) -> int:
        """How many machines there ever were."""
        found = self.cloud.client("ec2").describe_instances()["Reservations"]
        return sum(len(reservation["Instances"]) for reservation in found)


def order_faults(cloud: LocalCloud, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace the cloud's faults; how those before went (`met`, `used`)."""
    address = f"{cloud.environment['AWS_ENDPOINT_URL']}/_local_cloud/faults"
    with urllib.request.urlopen(address, timeout=60) as answer:
        before: list[dict[str, Any]] = json.load(answer)["entries"]
    body = json.dumps(faults).encode()
    asked = urllib.request.Request(address, data=body, method="PUT")
    with urllib.request.urlopen(asked, timeout=60):
        return before


@contextmanager
def open_engine(cloud: LocalCloud) -> Iterator[Engine]:
    """A stack `one` of the program on this cloud, with the builder's profile."""
    create_profile(cloud.client("iam"))
    gate = Gate(cloud.environment["AWS_ENDPOINT_URL"])
    try:
        engine = Engine(cloud, gate)
        engine.init()
        yield engine
    finally:
        gate.close()
        for left in PROGRAM.glob("Pulumi.*.yaml"):
            left.unlink(missing_ok=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and what it printed, once it has ended; it ends where the test does."""
    try:
        text = process.communicate()[0]
    except BaseException:
        kill_session(process)
        raise
    return process.returncode, text


def kill_session(leader: subprocess.Popen[str]) -> None:
    """`kill -9` to every process of a session, as a closed laptop does; waits until they are gone.

    The CLI puts its plugins into process groups of their own, but they stay in its session.
    """
    while members := _list_session(leader.pid):
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.02)


def _list_session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found
