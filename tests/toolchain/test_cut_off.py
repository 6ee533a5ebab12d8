"""An update that was killed does not stand in the way of the next one, on the real engine."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from toolchain import on_local_cloud

PROGRAM = """
import os, pulumi
if not pulumi.runtime.is_dry_run() and os.environ.get("STAND_STILL"):
    open(os.environ["STAND_STILL"], "w").write("here")
    open(os.environ["STAND_STILL"] + " on").read()
pulumi.export("answer", 42)
"""


def descendants(ancestor: int) -> list[int]:
    """Processes that `ancestor` started, and those that they started."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    rows = [tuple(map(int, line.split())) for line in table.stdout.splitlines()]
    children = [process for process, parent in rows if parent == ancestor]
    return children + [below for child in children for below in descendants(child)]


@pytest.mark.engine
def test_up_after_an_up_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    project, backend, fifo = tmp_path / "project", tmp_path / "backend", tmp_path / "fifo"
    project.mkdir()
    backend.mkdir()
    (project / "Pulumi.yaml").write_text("name: cut-off\nruntime: python\n")
    (project / "__main__.py").write_text(PROGRAM)
    os.mkfifo(fifo)
    os.mkfifo(f"{fifo} on")
    monkeypatch.setattr(on_local_cloud, "CHECKOUT", project)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{backend}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    subprocess.run(["pulumi", "stack", "init", "local"], cwd=project, check=True)

    cut_off = subprocess.Popen(
        ["pulumi", "up", "--yes", "--stack", "local"],
        cwd=project,
        env=dict(os.environ) | {"STAND_STILL": str(fifo)},
    )
    assert fifo.read_text() == "here"
    for process in [cut_off.pid, *descendants(cut_off.pid)]:
        os.kill(process, signal.SIGKILL)
    cut_off.wait()

    refused = subprocess.run(["pulumi", "up", "--yes"], cwd=project, capture_output=True, text=True)
    assert "currently locked" in refused.stderr + refused.stdout
    capfd.readouterr()
    assert on_local_cloud.main(["up"]) == 0
    said = capfd.readouterr()
    assert "The last update was cut off" in said.err
    assert "42" in said.out
