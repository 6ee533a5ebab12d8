"""Machines on cold volumes: they boot, read what is there at the set rate, and can be imaged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from local_cloud.machines.contract import GIB, ColdReads, MachineSpec
from tests.local_cloud.machines.room import Room
from tests.waiting import until

pytestmark = pytest.mark.machines

SIZE = 40_000_000
RATE = 40.0


def servers() -> list[str]:
    """Processes that show cold volumes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [str(path) for word in words if word.endswith(b"/cold_server.py")]
    return found


def wait_until_quiet(room: Room, machine: MachineSpec) -> None:
    """Wait until the machine is up whole, and nothing touches cold blocks any more."""
    assert room.says(machine, "systemctl is-system-running --wait") == "running"
    seen: list[int] = []

    def quiet() -> bool:
        seen.append(room.disks.cold_bytes(machine.root_volume_id)[1])
        time.sleep(0.2)
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    until(quiet)


def test_a_machine_on_a_cold_volume(room: Room) -> None:
    first = room.boot()
    room.says(first, f"head -c {SIZE} /dev/urandom > /opt/data; sha256sum < /opt/data > /opt/sum")
    room.disks.create_snapshot("snap-cold", volume_id=first.root_volume_id)
    room.end(first)
    assert room.disks.cold_bytes("vol-warm") == (0, 0)
    cold = ColdReads(first_read_mb_per_s=RATE)
    room.disks.create_volume("vol-cold", size_gib=30, snapshot_id="snap-cold", cold=cold)
    held, left = room.disks.cold_bytes("vol-cold")
    assert held == left > SIZE

    machine = room.boot("vol-cold")
    assert servers()
    wait_until_quiet(room, machine)
    before = room.disks.cold_bytes("vol-cold")[1]
    started = time.monotonic()
    room.says(machine, "dd if=/opt/data of=/dev/null bs=1M iflag=direct")
    took = time.monotonic() - started
    fetched = before - room.disks.cold_bytes("vol-cold")[1]
    assert fetched >= 0.9 * SIZE
    assert took >= 0.9 * fetched / (RATE * 10**6)  # whatever else the host does, never faster

    room.says(machine, "dd if=/opt/data of=/dev/null bs=1M iflag=direct")
    assert before - room.disks.cold_bytes("vol-cold")[1] - fetched < 0.1 * SIZE
    assert room.says(machine, "sha256sum < /opt/data") == room.says(machine, "cat /opt/sum")

    room.says(machine, "echo new > /opt/new; sync")
    room.disks.create_snapshot("snap-of-cold", volume_id="vol-cold")
    room.disks.create_volume("vol-copy", size_gib=30, snapshot_id="snap-of-cold")
    copy = room.boot("vol-copy")
    assert room.says(copy, "cat /opt/new; sha256sum < /opt/data").split()[0] == "new"
    assert room.says(copy, "sha256sum < /opt/data") == room.says(copy, "cat /opt/sum")

    room.disks.grow_volume("vol-cold", size_gib=31)
    assert int(room.says(machine, "blockdev --getsize64 /dev/nvme0n1")) == 31 * GIB
    room.end(machine, copy)
    assert room.disks.cold_bytes("vol-cold") == (0, 0)  # gone with the volume


def test_a_cold_volume_stays_as_warm_as_it_was_over_a_stop(room: Room) -> None:
    cold = ColdReads(first_read_mb_per_s=200.0)
    room.new_volume()
    room.disks.create_volume(
        "vol-stopped", size_gib=30, snapshot_id="snap-base-al2023-gpu", cold=cold
    )
    machine = room.boot("vol-stopped")
    wait_until_quiet(room, machine)
    room.says(machine, "echo kept > /opt/kept; sync")
    left = room.disks.cold_bytes("vol-stopped")[1]
    room.machines.shut_down(machine.instance_id)
    again = room.boot("vol-stopped")
    assert room.says(again, "cat /opt/kept") == "kept"
    wait_until_quiet(room, again)
    assert left - room.disks.cold_bytes("vol-stopped")[1] < 0.2 * left
    room.end(again)
