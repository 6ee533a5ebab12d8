"""What an ECS-optimized Amazon Linux has as far as scripts look: user data, packages, agents."""

from __future__ import annotations

import pytest

from local_cloud.machines.contract import MachineSpec
from tests.local_cloud.machines.room import Room
from tests.waiting import until

pytestmark = pytest.mark.machines

MULTIPART = b"""MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="==X=="

--==X==
Content-Type: text/cloud-config; charset="us-ascii"

#cloud-config
runcmd: [ touch /opt/never ]

--==X==
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/bash
echo ECS_CLUSTER=mine >> /etc/ecs/ecs.config; echo from the part

--==X==--
"""


def test_user_data_runs_once_an_instance(room: Room) -> None:
    machine = room.boot(user_data=b"#!/bin/bash\necho run >> /opt/runs; id -u; exit 3\n")
    room.says(machine, "cloud-init status --wait")
    log = room.says(machine, "cat /var/log/cloud-init-output.log")
    assert log.splitlines()[0] == "0"
    assert "failed user scripts: part-001" in log
    room.machines.reboot(machine.instance_id)
    room.wait_online(machine)
    room.says(machine, "cloud-init status --wait")
    assert room.says(machine, "cat /opt/runs") == "run"

    room.disks.create_snapshot("snap-user-data", volume_id=machine.root_volume_id)
    room.disks.create_volume("vol-user-data", size_gib=30, snapshot_id="snap-user-data")
    copy = room.boot("vol-user-data", user_data=b"#!/bin/bash\necho copy >> /opt/runs\n")
    room.says(copy, "cloud-init status --wait")
    assert room.says(copy, "cat /opt/runs").split() == ["run", "copy"]
    assert set(room.says(copy, "ls /var/lib/cloud/instances").split()) == {
        machine.instance_id,
        copy.instance_id,
    }
    room.end(machine, copy)
    room.disks.delete_snapshot("snap-user-data")


def test_multipart_user_data(room: Room) -> None:
    machine = room.boot(user_data=MULTIPART)
    room.says(machine, "cloud-init status --wait")
    log = room.says(machine, "cat /var/log/cloud-init-output.log")
    assert "from the part" in log
    assert "type text/cloud-config is not understood by this stand-in: ignored" in log
    assert room.says(machine, "cat /etc/ecs/ecs.config") == "ECS_CLUSTER=mine"
    assert room.run(machine, "ls /opt/never").exit_code == 2
    room.end(machine)


def test_the_ecs_agent_takes_an_identity(room: Room, machine: MachineSpec) -> None:
    until(lambda: room.run(machine, "test -s /var/lib/ecs/data/agent.db").exit_code == 0)
    assert room.says(machine, "systemctl is-enabled ecs docker amazon-ssm-agent").split() == [
        "enabled",
        "enabled",
        "enabled",
    ]
    until(lambda: b"amazon/amazon-ecs-agent" in room.run(machine, "docker images").stdout)
    room.says(machine, "systemctl stop ecs", "rm -rf /var/lib/ecs/data/*", "systemctl start ecs")


def test_updates_hold_what_is_excluded(room: Room) -> None:
    machine = room.boot(gpus=1)
    before = room.says(machine, "rpm -q kernel nvidia-driver curl")
    room.says(machine, "dnf -y -q update --exclude=kernel* --exclude 'nvidia*'")
    after = room.says(machine, "rpm -q kernel nvidia-driver curl")
    assert after.splitlines()[:2] == before.splitlines()[:2]
    assert after.splitlines()[2] != before.splitlines()[2]
    room.says(machine, "nvidia-smi", "dnf versionlock add kernel", "dnf -y update", "rpm -q kernel")
    broken = room.run(machine, "nvidia-smi")
    assert (broken.exit_code, b"Driver/library version mismatch" in broken.stdout) == (18, True)
    assert room.run(machine, "dnf check-update").exit_code == 0
    room.says(machine, "dnf versionlock clear", "dnf -y update", "dnf clean all")
    assert room.says(machine, "find /var/cache/dnf -type f | wc -l") == "0"
    room.machines.reboot(machine.instance_id)
    room.wait_online(machine)
    assert b"couldn't communicate" in room.run(machine, "nvidia-smi").stdout
    room.end(machine)


def test_packages(room: Room, machine: MachineSpec) -> None:
    assert room.says(machine, "rpm -q --qf '%{NAME} %{VERSION}\\n' nvidia-driver") == (
        "nvidia-driver 580.105.08"
    )
    assert room.says(machine, "rpm -qa 'nvidia-driver*' | wc -l") == "2"
    assert room.run(machine, "rpm -q nothing").exit_code == 1
    assert room.says(machine, "dnf install -y docker jq | head -3").count("already installed") == 2
    missing = room.run(machine, "dnf install -y cowsay")
    assert (missing.exit_code, b"Unable to find a match: cowsay" in missing.stderr) == (1, True)
    assert room.run(machine, "rpm -i x.rpm").exit_code == 1


def test_an_unreachable_package_server_fails_the_update(room: Room) -> None:
    machine = room.boot()
    outcome = room.run(machine, "iptables -A OUTPUT -p tcp --dport 443 -j REJECT; dnf -y update")
    assert outcome.exit_code == 1
    assert b"Failed to download metadata for repo 'amazonlinux'" in outcome.stderr
    room.end(machine)


@pytest.mark.parametrize(
    ("family", "version", "has_docker", "has_driver"),
    [
        ("al2023", "2023", False, False),
        ("al2023-ecs", "2023", True, False),
        ("al2-gpu", "2", True, True),
    ],
)
def test_families(
    room: Room, family: str, version: str, has_docker: bool, has_driver: bool
) -> None:
    machine = room.boot(room.new_volume(family=family), gpus=1)
    assert room.says(machine, ". /etc/os-release; echo $VERSION_ID") == version
    assert room.says(machine, "systemctl is-system-running --wait") == "running"
    assert (room.run(machine, "docker info").exit_code == 0) == has_docker
    assert (room.run(machine, "nvidia-smi -L").exit_code == 0) == has_driver
    assert room.run(machine, "dnf --version").exit_code == (127 if version == "2" else 0)
    assert room.run(machine, "yum --version").exit_code == 0
    room.end(machine)
