"""What the SSM agent does with `AWS-RunShellScript`, done to a machine from outside.

Behaviour follows amazon-ssm-agent's `executers.go` and `runscript`: the script file and its
folder, `sh -c`, the process group that a time-out kills, exit code 137 for what was stopped, the
end of output as the end.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from local_cloud.machines import linux
from local_cloud.machines.contract import CommandStatus, Outcome, Script
from local_cloud.machines.sandbox import Sandbox

#: `CommandStoppedPreemptivelyExitCode`: a time-out or a cancellation, and a script's own 137 looks
#: the same.
STOPPED_EARLY = 137
#: Of each stream; SSM itself shows the first 24,000 characters. What comes after it is read and
#: dropped.
MOST_OUTPUT_BYTES = 16 * 1024 * 1024
#: The agent's service has this working directory, and a script without its own inherits it.
_AGENT_FOLDER = "/usr/bin"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
_LOOK_AGAIN_S = 0.1

#: Run by sh on the machine: $1 folder of the command, $2 working directory; the script on standard
#: input.
_SCRIPT_STARTER = """
umask 077
mkdir -p "$1" && cat > "$1/_script.sh" && chmod 700 "$1/_script.sh" && cd "$2" || exit 1
exec setsid sh -c "$1/_script.sh" < /dev/null
"""

_CONSOLE_READER = """
journalctl --boot --no-pager --no-hostname --output short-monotonic
cat /var/log/cloud-init-output.log
"""


@dataclass
class _Captured:
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


def run_script(machine: Sandbox, script: Script, cancel: threading.Event) -> Outcome:
    """Run it and wait until it ended, ran out of time, was cancelled, or the machine is gone."""
    instance = machine.spec.instance_id
    folder = (
        f"/var/lib/amazon/ssm/{instance}/document/orchestration/{script.command_id}"
        "/awsrunShellScript/0.awsrunShellScript"
    )
    started = datetime.now(UTC)
    try:
        process = _start(machine, script, folder)
    except FileNotFoundError:
        return not_run(f"{instance} is not up")
    captured = _Captured()
    with process:
        feeder = threading.Thread(target=_feed, args=(process, script), daemon=True)
        feeder.start()
        deadline = time.monotonic() + script.timeout_s
        stopped = _follow(process, captured, deadline=deadline, cancel=cancel)
        code = process.wait()
        feeder.join()
    if code < 0 or not machine.is_alive():
        code = -1
    exit_code = STOPPED_EARLY if stopped else code
    _keep_output(machine, folder, captured)
    return Outcome(
        status=_status(exit_code, cancelled=stopped == "Cancelled"),
        exit_code=exit_code,
        stdout=bytes(captured.stdout),
        stderr=bytes(captured.stderr),
        started=started,
        ended=datetime.now(UTC),
    )


def _start(machine: Sandbox, script: Script, folder: str) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": _PATH,
        "AWS_SSM_INSTANCE_ID": machine.spec.instance_id,
        "AWS_SSM_REGION_NAME": machine.spec.region,
        **script.environment,
    }
    command = machine.inside(
        "env", "-i", *(f"{name}={value}" for name, value in environment.items()),
        "sh", "-c", _SCRIPT_STARTER, "sh", folder, script.working_directory or _AGENT_FOLDER,
    )  # fmt: skip
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, cwd="/",
    )  # fmt: skip


def not_run(why: str) -> Outcome:
    """What came of a script that never started."""
    now = datetime.now(UTC)
    return Outcome(
        status="Failed", exit_code=-1, stdout=b"", stderr=why.encode(), started=now, ended=now
    )


def _keep_output(machine: Sandbox, folder: str, captured: _Captured) -> None:
    """Leave the output beside the script, as the agent does, if the machine has room for it."""
    for name, content in (("stdout", captured.stdout), ("stderr", captured.stderr)):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with (
            contextlib.suppress(OSError),
            os.fdopen(linux.open_inside(machine.root, f"{folder}/{name}", flags), "wb") as file,
        ):
            file.write(content)


def _status(exit_code: int, *, cancelled: bool) -> CommandStatus:
    """As `pluginutil.GetStatus` has it."""
    if exit_code == 0:
        return "Success"
    if exit_code == STOPPED_EARLY:
        return "Cancelled" if cancelled else "TimedOut"
    return "Failed"


def _feed(process: subprocess.Popen[bytes], script: Script) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write("\n".join(script.lines).encode() + b"\n")


def _follow(
    process: subprocess.Popen[bytes],
    captured: _Captured,
    *,
    deadline: float,
    cancel: threading.Event,
) -> CommandStatus | None:
    """Read both streams until they end; say what stopped the script early, if anything.

    A process left in the background that keeps a stream open keeps the command going, as on AWS.
    """
    with selectors.DefaultSelector() as ready:
        for stream, kept in ((process.stdout, captured.stdout), (process.stderr, captured.stderr)):
            assert stream is not None
            ready.register(stream, selectors.EVENT_READ, kept)
        while ready.get_map():
            stop: CommandStatus | None = None
            if cancel.is_set():
                stop = "Cancelled"
            elif time.monotonic() >= deadline:
                stop = "TimedOut"
            if stop:
                _kill_group(process)
                return stop
            _go_on(process.pid)
            for key, _ in ready.select(min(_LOOK_AGAIN_S, max(0.0, deadline - time.monotonic()))):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    ready.unregister(key.fileobj)
                elif len(key.data) < MOST_OUTPUT_BYTES:
                    key.data.extend(chunk)
    return None


def _go_on(nsenter: int) -> None:
    """Let an nsenter that stopped along with its script go on once the script does, or has ended.

    A machine's systemd stops every process before it ends them all. nsenter, outside of the
    machine, stops itself when its child is stopped, and nobody there would ever wake it.
    """
    if linux.is_stopped(nsenter) and not any(map(linux.is_stopped, linux.children(nsenter))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(nsenter, signal.SIGCONT)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the script and what it started in its own process group; the rest lives on, as on AWS."""
    for child in linux.children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpgid(child), signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def read_console(machine: Sandbox) -> bytes:
    """What a console would show: the journal of this boot, and what user data printed."""
    try:
        read = subprocess.run(
            machine.inside("sh", "-c", _CONSOLE_READER), cwd="/", check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:  # it is gone
        return b""
    return read.stdout


def is_online(machine: Sandbox) -> bool:
    """Whether the machine's agent service runs, by the process that its PID file names."""
    try:
        pid = (machine.root / "run/amazon-ssm-agent.pid").read_text().strip()
        name = (machine.root / "proc" / pid / "comm").read_text().strip()
    except OSError:
        return False
    return pid.isdigit() and name.startswith("amazon-ssm")
