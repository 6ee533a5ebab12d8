"""Commands end as the SSM agent's do: status, exit code, output, time-outs, what is killed and
what is not.
"""

from __future__ import annotations

import threading

import pytest

from local_cloud.machines.contract import MachineSpec
from tests.local_cloud.machines.room import Room
from tests.waiting import until

pytestmark = pytest.mark.machines


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("true", "Success", 0),
        ("false", "Failed", 1),
        ("exit 42", "Failed", 42),
        ("no-such-command", "Failed", 127),
        ("kill -9 $$", "Failed", -1),
        ("exit 137", "TimedOut", 137),  # the agent cannot tell it from its own doing
    ],
)
def test_exit_codes(room: Room, machine: MachineSpec, line: str, status: str, code: int) -> None:
    outcome = room.run(machine, line)
    assert (outcome.status, outcome.exit_code) == (status, code)
    assert outcome.started <= outcome.ended


def test_output_is_whole_and_kept_beside_the_script(room: Room, machine: MachineSpec) -> None:
    outcome = room.run(machine, "printf '%030000d' 0", "echo trouble >&2", "pwd; tty; cat")
    assert outcome.stdout == b"0" * 30000 + b"/usr/bin\nnot a tty\n"
    assert outcome.stderr == b"trouble\n"
    kept = room.says(
        machine,
        f"cd /var/lib/amazon/ssm/{machine.instance_id}/document/orchestration",
        'cd "$(ls -t | sed -n 2p)/awsrunShellScript/0.awsrunShellScript"',
        "cat stderr; wc -c < stdout",
    )
    assert kept.split() == ["trouble", "30019"]


def test_the_script_is_the_file_aws_makes(room: Room, machine: MachineSpec) -> None:
    said = room.says(machine, "#!/usr/bin/python3", "import sys", "print(sys.argv[0])")
    assert said.startswith(f"/var/lib/amazon/ssm/{machine.instance_id}/document/orchestration/")
    assert said.endswith("/awsrunShellScript/0.awsrunShellScript/_script.sh")


def test_surroundings(room: Room, machine: MachineSpec) -> None:
    outcome = room.run(
        machine,
        "id -u; echo $WORD $AWS_SSM_REGION_NAME; pwd; echo ${HOME-none}",
        working_directory="/opt",
        environment={"WORD": "it's a word"},
    )
    assert outcome.stdout.decode().splitlines() == [
        "0",
        "it's a word ap-northeast-2",
        "/opt",
        "none",
    ]
    assert room.run(machine, "true", working_directory="/nowhere").status == "Failed"


def test_a_time_out_kills_the_whole_group(room: Room, machine: MachineSpec) -> None:
    outcome = room.run(machine, "echo before", "sleep 4711 & sleep 4711", timeout_s=5)
    assert (outcome.status, outcome.exit_code) == ("TimedOut", 137)
    assert outcome.stdout == b"before\n"
    assert room.run(machine, "pgrep -f '^sleep 4711'").exit_code == 1


def test_a_cancelled_command_ends(room: Room, machine: MachineSpec) -> None:
    cancel = threading.Event()
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.append(room.run(machine, "sleep 4712", cancel=cancel))
    )
    thread.start()
    until(lambda: room.run(machine, "pgrep -f '^sleep 4712'").exit_code == 0)
    cancel.set()
    thread.join()
    assert (outcomes[0].status, outcomes[0].exit_code) == ("Cancelled", 137)
    assert room.run(machine, "pgrep -f '^sleep 4712'").exit_code == 1


def test_what_keeps_the_output_open_keeps_the_command_going(
    room: Room, machine: MachineSpec
) -> None:
    """As with the agent: a background process has to be given other outputs."""
    held = room.run(machine, "sleep 4713 & exit 0", timeout_s=0.5)
    assert held.status == "TimedOut"
    free = room.run(machine, "sleep 4714 > /dev/null 2>&1 & exit 0")
    assert free.status == "Success"
    assert room.says(machine, "pkill -f '^sleep 4714' && echo lived on") == "lived on"


def test_stopping_services_spares_the_command(room: Room) -> None:
    machine = room.boot()
    assert (
        room.says(machine, "systemctl stop docker.socket docker containerd; echo alive") == "alive"
    )
    assert room.says(machine, "systemctl stop amazon-ssm-agent; echo alive") == "alive"
    until(lambda: not room.machines.agent_is_online(machine.instance_id))
    assert room.machines.is_up(machine.instance_id)
    room.end(machine)


def test_a_machine_that_dies_fails_its_command(room: Room) -> None:
    machine = room.boot()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(room.run(machine, "sleep 4715")))
    thread.start()
    until(lambda: room.run(machine, "pgrep -f '^sleep 4715'").exit_code == 0)
    room.machines.shut_down(machine.instance_id, force=True)
    thread.join()
    assert (outcomes[0].status, outcomes[0].exit_code) == ("Failed", -1)
    room.end(machine)


def test_a_full_disk_fails_the_command_that_fills_it(room: Room) -> None:
    machine = room.boot()
    outcome = room.run(
        machine, "fallocate -l 28G /opt/ballast; dd if=/dev/zero of=/opt/more bs=1M count=4096"
    )
    assert outcome.status == "Failed"
    assert b"No space left on device" in outcome.stderr
    assert room.says(machine, "stat -c %s /opt/ballast") == str(28 * 1024**3)
    room.end(machine)
