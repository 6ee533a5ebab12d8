"""What recorded and real machines and disks have in common, whatever runs beneath."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.machines.contract import GIB, Script
from local_cloud.machines.recorded import RecordedDisks, RecordedMachines
from tests.local_cloud.machines.room import Room
from tests.waiting import until

NUMBERS = itertools.count(1)


@pytest.fixture(params=["recorded", pytest.param("real", marks=pytest.mark.machines)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    if request.param == "real":
        shared: Room = request.getfixturevalue("room")
        yield shared
    else:
        yield Room(RecordedMachines(), RecordedDisks(), root=tmp_path)


def names() -> tuple[str, str]:
    number = next(NUMBERS)
    return f"vol-contract-{number}", f"snap-contract-{number}"


def test_a_machine_from_boot_to_its_end(either: Room) -> None:
    machine = either.boot()
    assert either.machines.is_up(machine.instance_id)
    outcome = either.run(machine, "true")
    assert (outcome.status, outcome.exit_code) == ("Success", 0)
    assert outcome.started <= outcome.ended
    either.machines.reboot(machine.instance_id)
    until(lambda: either.machines.agent_is_online(machine.instance_id))
    for _ in range(2):
        either.machines.shut_down(machine.instance_id)
        assert not either.machines.is_up(machine.instance_id)
        assert not either.machines.agent_is_online(machine.instance_id)
    assert machine.instance_id not in either.powered_off
    either.end(machine)


def test_a_command_cancelled_before_it_began(either: Room) -> None:
    machine = either.boot()
    cancel = threading.Event()
    cancel.set()
    outcome = either.machines.run(
        machine.instance_id, Script(command_id="c", lines=("sleep 60",)), cancel
    )
    assert outcome.status == "Cancelled"
    either.end(machine)


def test_nothing_is_known_of_a_machine_that_never_was(either: Room) -> None:
    assert not either.machines.is_up("i-never")
    assert not either.machines.agent_is_online("i-never")
    either.machines.shut_down("i-never")


def test_disks_from_volume_to_snapshot_to_volume(either: Room) -> None:
    volume, snapshot = names()
    copy, again = names()
    disks = either.disks
    disks.create_volume(volume, size_gib=2)
    disks.create_snapshot(snapshot, volume_id=volume)
    disks.grow_volume(volume, size_gib=3)
    assert disks.usage(volume).size_bytes == 3 * GIB
    assert disks.usage(snapshot).size_bytes == 2 * GIB
    disks.copy_snapshot(snapshot, again)
    disks.delete_snapshot(snapshot)
    disks.create_volume(copy, size_gib=4, snapshot_id=again)
    assert disks.usage(copy).size_bytes == 4 * GIB
    for one in (volume, copy):
        disks.delete_volume(one)
    disks.delete_snapshot(again)
    for gone in (volume, copy, snapshot, again):
        with pytest.raises(KeyError):
            disks.usage(gone)


def test_a_snapshot_of_nothing_is_refused(either: Room) -> None:
    with pytest.raises(KeyError):
        either.disks.create_volume("vol-of-nothing", size_gib=1, snapshot_id="snap-of-nothing")


def test_base_disks(either: Room) -> None:
    _, snapshot = names()
    either.disks.add_base_snapshot(snapshot, family="al2023-gpu")
    assert either.disks.usage(snapshot).size_bytes == 30 * GIB
    either.disks.delete_snapshot(snapshot)
