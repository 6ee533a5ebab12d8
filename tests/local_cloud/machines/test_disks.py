"""Disks hold real bytes: images take what is there then, copies share blocks, deleting gives them
back.
"""

from __future__ import annotations

import pytest

from local_cloud.machines.contract import GIB
from tests.local_cloud.machines.room import Room
from tests.waiting import until

pytestmark = pytest.mark.machines

MIB = 1024**2


def host_bytes(room: Room) -> int:
    """What the disks of the room take on the host."""
    return (room.root / "disks.xfs").stat().st_blocks * 512


def test_a_machine_from_a_snapshot_sees_its_files(room: Room) -> None:
    first = room.boot()
    room.says(first, "head -c 20M /dev/urandom > /opt/weights; sha256sum < /opt/weights > /opt/sum")
    room.disks.create_snapshot("snap-files", volume_id=first.root_volume_id)  # while it runs
    room.says(first, "rm /opt/weights; echo later > /opt/later")

    room.disks.create_volume("vol-files", size_gib=30, snapshot_id="snap-files")
    copy = room.boot("vol-files")
    assert room.says(copy, "sha256sum < /opt/weights") == room.says(copy, "cat /opt/sum")
    assert room.run(copy, "ls /opt/later").exit_code == 2
    assert room.says(first, "ls /opt").split() == ["later", "sum"]
    room.end(first, copy)
    room.disks.delete_snapshot("snap-files")


def test_only_changed_blocks_cost_and_deleting_gives_them_back(room: Room) -> None:
    machine = room.boot()
    room.disks.create_snapshot("snap-one", volume_id=machine.root_volume_id)
    before = host_bytes(room)
    room.says(machine, "head -c 64M /dev/urandom > /opt/data; sync")
    room.disks.create_snapshot("snap-two", volume_id=machine.root_volume_id)
    assert 64 * MIB <= host_bytes(room) - before < 90 * MIB
    one, two = room.disks.usage("snap-one"), room.disks.usage("snap-two")
    assert one.size_bytes == two.size_bytes == 30 * GIB
    assert 64 * MIB <= two.allocated_bytes - one.allocated_bytes < 90 * MIB
    assert two.unique_bytes < 8 * MIB  # shared with the volume still

    room.end(machine)
    assert room.disks.usage("snap-two").unique_bytes >= 64 * MIB
    room.disks.delete_snapshot("snap-two")
    until(lambda: host_bytes(room) - before < 16 * MIB)
    room.disks.delete_snapshot("snap-one")
    with pytest.raises(KeyError):
        room.disks.usage("snap-one")


def test_a_copied_snapshot_costs_nothing_and_stands_alone(room: Room) -> None:
    room.new_volume()
    room.disks.copy_snapshot("snap-base-al2023-gpu", "snap-copied")
    assert room.disks.usage("snap-copied").unique_bytes == 0
    room.disks.create_volume("vol-copied", size_gib=30, snapshot_id="snap-copied")
    room.disks.delete_snapshot("snap-copied")
    room.end(room.boot("vol-copied"))


def test_a_larger_volume_has_a_larger_file_system(room: Room) -> None:
    volume = room.new_volume(size_gib=45)
    machine = room.boot(volume)
    assert int(room.says(machine, "df --output=size -B1G / | tail -1")) >= 44
    room.disks.grow_volume(volume, size_gib=60)
    assert int(room.says(machine, "blockdev --getsize64 /dev/xvda")) == 60 * GIB
    room.machines.reboot(machine.instance_id)
    room.wait_online(machine)
    assert int(room.says(machine, "df --output=size -B1G / | tail -1")) >= 58
    with pytest.raises(ValueError, match="only grows"):
        room.disks.grow_volume(volume, size_gib=50)
    room.end(machine)


def test_a_volume_smaller_than_its_snapshot_is_refused(room: Room) -> None:
    room.new_volume()
    with pytest.raises(ValueError, match="30 GiB"):
        room.disks.create_volume("vol-small", size_gib=8, snapshot_id="snap-base-al2023-gpu")
    with pytest.raises(KeyError):
        room.disks.create_volume("vol-none", size_gib=8, snapshot_id="snap-none")
    with pytest.raises(KeyError):
        room.disks.create_snapshot("snap-none", volume_id="vol-none")
    room.disks.delete_volume("vol-none")  # may be repeated
    room.disks.delete_snapshot("snap-none")


def test_a_base_disk_knows_neither_host_nor_package_server(room: Room) -> None:
    machine = room.boot()
    room.disks.create_volume("vol-base", size_gib=30, snapshot_id="snap-base-al2023-gpu")
    other = room.boot("vol-base")
    ids = {
        room.says(one, "cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub")
        for one in (machine, other)
    }
    assert len(ids) == 2
    assert room.says(
        machine, "ls /etc/apt/sources.list.d /var/lib/apt/lists; ls -A /root/.docker 2>&1 || true"
    )
    assert room.run(machine, "cat /etc/apt/sources.list /etc/hostname").exit_code == 1
    assert room.says(machine, "find /var/cache/apt /var/lib/apt/lists -type f | wc -l") == "0"
    room.end(machine, other)
