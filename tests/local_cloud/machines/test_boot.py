"""A machine is a whole one: its own init, disk, name, Docker and agents, powered off from either
side.
"""

from __future__ import annotations

import time

import pytest

from local_cloud.machines.contract import MachineError, MachineSpec
from tests.local_cloud.machines.room import MAKE_IMAGE, Room
from tests.waiting import until

pytestmark = pytest.mark.machines


def test_a_machine_runs_systemd_and_docker_on_its_own_disk(
    room: Room, machine: MachineSpec
) -> None:
    assert room.says(machine, "systemctl is-system-running --wait") == "running"
    assert room.says(machine, "cat /proc/1/comm") == "systemd"
    assert room.says(machine, "hostname") == machine.hostname
    assert room.says(machine, ". /etc/os-release; echo $ID $VERSION_ID") == "amzn 2023"
    assert room.says(machine, "docker info --format '{{.Driver}}'") == "overlay2"
    size = int(room.says(machine, "df --output=size -B1 / | tail -1"))
    assert 29e9 < size < 30 * 1024**3


def test_nothing_of_the_host_shows(room: Room, machine: MachineSpec) -> None:
    mounts = room.says(machine, "cat /proc/mounts")
    assert str(room.root) not in mounts
    assert "/dev/nvme0n1p1 / ext4" in mounts
    assert room.run(
        machine, "touch /proc/sys/kernel/hostname && echo x > /proc/sys/vm/swappiness"
    ).exit_code
    assert room.run(machine, "ls /dev/kmsg /dev/loop0").exit_code != 0
    processes = int(room.says(machine, "ls -d /proc/[0-9]* | wc -l"))
    assert processes < 60


def test_docker_runs_containers(room: Room, machine: MachineSpec) -> None:
    said = room.says(
        machine,
        MAKE_IMAGE,
        "in_container thin:1 /bin/echo hello",
        "in_container --memory 64m thin:1 /bin/cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
        " || in_container --memory 64m thin:1 /bin/cat /sys/fs/cgroup/memory.max",
        "in_container --network none thin:1 /bin/true",
    )
    assert said.splitlines()[0] == "hello"
    assert said.splitlines()[-1] == str(64 * 1024**2)


def test_a_gpu_machine_shows_its_gpus_and_gives_them_to_containers(
    room: Room, machine: MachineSpec
) -> None:
    query = "nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader"
    assert room.says(machine, query) == "NVIDIA A10G, 580.105.08, 23028 MiB"
    assert "GPU 0: NVIDIA A10G" in room.says(machine, "nvidia-smi -L")
    assert "Driver Version: 580.105.08" in room.says(machine, "nvidia-smi")
    assert "NVIDIA A10G" in room.says(machine, "nvidia-container-cli info")
    with_a_shell = (
        "-v /usr/lib:/usr/lib:ro -v /usr/lib64:/usr/lib64:ro -v /bin/bash:/usr/bin/sh:ro"
        " thin:1 /bin/sh -c 'nvidia-smi -L'"
    )
    inside = room.says(
        machine,
        MAKE_IMAGE,
        f"docker run --rm --gpus all {with_a_shell}",
        f"docker run --rm --runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all {with_a_shell}",
    )
    assert inside.count("GPU 0: NVIDIA A10G") == 2


def test_without_a_gpu_there_is_no_driver_tool(room: Room) -> None:
    machine = room.boot()
    assert room.run(machine, "command -v nvidia-smi").exit_code == 1
    assert room.run(machine, "ls /dev/nvidia0").exit_code == 2
    refused = room.run(machine, MAKE_IMAGE, "in_container --gpus all thin:1 /bin/true")
    assert b"could not select device driver" in refused.stderr
    room.end(machine)


def test_power_off_from_inside_is_told(room: Room) -> None:
    machine = room.boot()
    room.run(machine, "systemd-run --quiet systemctl poweroff")
    until(lambda: machine.instance_id in room.powered_off)
    assert not room.machines.is_up(machine.instance_id)
    assert not room.machines.agent_is_online(machine.instance_id)
    assert room.run(machine, "true").exit_code == -1
    room.end(machine)


def test_a_shutdown_can_be_planned_and_taken_back(room: Room) -> None:
    machine = room.boot()
    room.says(machine, "shutdown -h +30", "shutdown -c", "shutdown -h +60")
    planned = room.says(machine, "cat /run/systemd/shutdown/scheduled")
    assert "MODE=poweroff" in planned
    room.says(machine, "systemd-run --quiet shutdown -h now")
    until(lambda: machine.instance_id in room.powered_off)
    room.end(machine)


def test_an_orderly_end_is_not_told(room: Room) -> None:
    machine = room.boot()
    room.says(machine, "printf 'kept' > /opt/kept")
    room.machines.shut_down(machine.instance_id)
    assert not room.machines.is_up(machine.instance_id)
    room.machines.boot(machine)  # started again after a stop
    room.wait_online(machine)
    assert room.says(machine, "cat /opt/kept") == "kept"
    assert machine.instance_id not in room.powered_off
    room.end(machine)


def test_a_reboot_from_either_side_boots_again(room: Room) -> None:
    machine = room.boot()
    boots = [room.says(machine, "cat /proc/sys/kernel/random/boot_id")]
    room.machines.reboot(machine.instance_id)
    room.wait_online(machine)
    boots.append(room.says(machine, "cat /proc/sys/kernel/random/boot_id"))
    room.run(machine, "systemd-run --quiet systemctl reboot")

    def booted_again() -> bool:
        outcome = room.run(machine, "cat /proc/sys/kernel/random/boot_id")
        return outcome.exit_code == 0 and outcome.stdout.decode().strip() not in boots

    until(booted_again)
    assert boots[0] != boots[1]
    assert room.machines.is_up(machine.instance_id)
    assert machine.instance_id not in room.powered_off
    room.end(machine)


def test_a_disk_without_a_system_does_not_boot(room: Room) -> None:
    room.disks.create_volume("vol-blank", size_gib=1)
    spec = room.spec("vol-blank")
    with pytest.raises(MachineError, match="did not boot"):
        room.machines.boot(spec)
    assert not room.machines.is_up(spec.instance_id)
    room.disks.delete_volume("vol-blank")
    assert spec.instance_id not in room.powered_off


def test_an_address_is_given_once(room: Room, machine: MachineSpec) -> None:
    from dataclasses import replace

    twin = replace(machine, instance_id="i-twin")
    with pytest.raises(MachineError, match=machine.private_ip):
        room.machines.boot(twin)


def test_ten_machines_fit_in_memory(room: Room, machine: MachineSpec) -> None:
    """The bar is 2 GiB; what counts is memory that cannot be dropped, so page cache is left out."""
    started = time.monotonic()
    machines = [room.spec(room.new_volume()) for _ in range(10)]
    for one in machines:
        room.machines.boot(one)
    for one in machines:
        room.wait_online(one)
        room.says(one, "docker info > /dev/null")
    took = time.monotonic() - started
    add_up = "awk '/^Pss:/ { kb += $2 } END { print kb }'"
    shares = f"cat /proc/[0-9]*/smaps_rollup 2> /dev/null | {add_up}"
    used = [int(room.says(one, shares)) for one in machines]
    print(f"ten machines: {took:.1f} s, {sum(used) / 1024:.0f} MiB together")
    room.end(*machines)
    assert sum(used) / 1024 < 2048
