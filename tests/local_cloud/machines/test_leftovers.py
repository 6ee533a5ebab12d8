"""Nothing is left of a cloud: after its end, and after the start that follows a `kill -9`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.machines import clouds, linux
from local_cloud.machines.contract import MachineError
from tests.local_cloud.machines.room import Room, find_record, open_room
from tests.waiting import until

pytestmark = pytest.mark.machines


def mounts_and_loops_of(folder: Path) -> list[str]:
    """Where the host still has the folder's files mounted or behind loop devices."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    loops = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            loops.append(file.read_text().strip())
        except OSError:  # it went away while we looked
            continue
    return mounts + [loop for loop in loops if str(folder) in loop]


def groups_of(cloud: clouds.CloudRecord) -> list[Path]:
    return [folder for folder in cloud.group.folders if folder.exists()]


def test_a_killed_cloud_is_cleared_away_by_the_next_start(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "doomed"
    folder.mkdir()
    doomed = subprocess.Popen(
        [sys.executable, "-m", "tests.local_cloud.machines.doomed", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert doomed.stdout is not None
    said = next(line for line in doomed.stdout if line.startswith("{"))
    processes = json.loads(said)
    assert len(processes) > 5 * 5
    record = find_record(doomed.pid)
    assert groups_of(record)
    assert mounts_and_loops_of(folder)

    os.kill(doomed.pid, signal.SIGKILL)
    doomed.wait()
    doomed.stdout.close()
    after = open_room(tmp_path / "next")
    assert not (clouds.RECORDS / f"{record.cloud_id}.json").exists()
    until(lambda: not any(linux.start_time(int(pid)) == began for pid, began in processes.items()))
    until(lambda: not mounts_and_loops_of(folder))
    assert not groups_of(record)
    assert not (folder / "room").exists()
    assert not room.machines.is_up("another cloud's machine")
    assert room.boot().instance_id  # the live cloud beside it was left alone
    after.machines.close()
    assert not mounts_and_loops_of(tmp_path)


def test_two_clouds_at_once_do_not_meet(room: Room, tmp_path: Path) -> None:
    other = open_room(tmp_path)
    record = find_record(os.getpid())
    here, there = room.boot(), other.boot()
    room.says(here, "systemd-run --quiet python3 -m http.server 8000 --directory /usr/share")
    unreached = other.run(there, f"curl -s -m 2 http://{here.private_ip}:8000/")
    assert unreached.exit_code in (7, 28)
    other.machines.close()
    other.machines.close()  # may be repeated
    assert not mounts_and_loops_of(tmp_path)
    assert not groups_of(record)
    assert not list((tmp_path / "room" / "machines").glob("*"))
    assert room.says(here, "echo unharmed") == "unharmed"
    room.end(here)


def test_disks_stay_for_the_next_run_of_the_same_folder(tmp_path: Path) -> None:
    first = open_room(tmp_path)
    machine = first.boot()
    first.says(machine, "echo kept > /opt/kept")
    with pytest.raises(MachineError, match="runs a local cloud on"):
        open_room(tmp_path)
    first.machines.shut_down(machine.instance_id)
    first.disks.create_snapshot("snap-kept", volume_id=machine.root_volume_id)
    first.machines.close()
    first.disks.close()

    second = open_room(tmp_path)
    second.disks.create_volume("vol-kept", size_gib=30, snapshot_id="snap-kept")
    assert second.says(second.boot("vol-kept"), "cat /opt/kept") == "kept"
    second.machines.close()
