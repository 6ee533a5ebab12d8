"""What a bake shows on its resource's line while it is under way."""

from __future__ import annotations

import itertools
import re
import threading
from datetime import UTC, datetime

import pytest

from ami_provider import stages, traffic
from ami_provider.bake import bake
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import open_bakery


def test_the_line_of_a_pull_tells_step_times_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pull lasts until its line has told of bytes: so long as it takes here."""
    monkeypatch.setattr(traffic, "FIRST_S", 0.01)
    monkeypatch.setattr(stages, "TICK_S", 0.01)
    with open_bakery(monkeypatch, real=False) as bakery:
        told, received = threading.Event(), itertools.count(5_000_000, 250_000)
        lines: list[str] = []

        def answer(_machine: str, script: Script) -> Outcome:
            text, output = "\n".join(script.lines), b""
            if "rx_bytes" in text:
                output = str(next(received)).encode()
            if "run.sh 40-pull-images" in text:
                assert told.wait(300)
            now = datetime.now(UTC)
            return Outcome(
                status="Success", exit_code=0, stdout=output, stderr=b"", started=now, ended=now
            )

        def report(line: str) -> None:
            lines.append(line)
            if re.search(r" \d+\.\d of \d+\.\d [MGk]?B$", line):
                told.set()

        assert isinstance(bakery.cloud.machines, RecordedMachines)
        bakery.cloud.machines.answer = answer
        bake(bakery.resolve(), bakery.site(), bakery.lineage(), aws=bakery.aws, report=report)

    head = "step 3 of 8: pull the images and fetch the models"
    (start,) = [line for line in lines if re.fullmatch(rf"{head} · expected \d+ s", line)]
    later = [line for line in lines[lines.index(start) :] if line.startswith(head)]
    assert re.fullmatch(rf"{head} · \d+ s · expected \d+ s · \d+\.\d of \d+\.\d [MGk]?B", later[-1])
