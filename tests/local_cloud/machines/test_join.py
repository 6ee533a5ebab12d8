"""A command joins its machine's control groups, also one that the machine has just removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from local_cloud.machines.anchor import HERE


def join(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(HERE / "join.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_group_that_was_removed_is_made_again(tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    for name, text in (
        ("cgroup.clone_children", "0"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ):
        (machine / name).write_text(text)

    done = join(machine / "agent", machine, "--", "echo", "two words")

    assert done.stdout == "two words\n", done.stderr
    assert int((machine / "agent" / "cgroup.procs").read_text()) > 0
    assert int((machine / "cgroup.procs").read_text()) > 0


def test_a_machine_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    done = join(tmp_path / "machine" / "agent", "--", "echo", "never")

    assert done.returncode != 0
    assert done.stdout == ""
    assert "cgroup.procs: No such file or directory" in done.stderr
    assert not (tmp_path / "machine").exists()
