"""Runs scripts on a machine through SSM Run Command, once each, whatever answers are lost."""

from __future__ import annotations

import base64
import gzip
import secrets
import shlex
from dataclasses import dataclass
from functools import partial

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.errors import BakeError, bake_error, get_code, is_aws_error, is_transient
from ami_provider.instance_state import is_running

STATE = "/run/baked-ami"
"""Where a machine keeps everything of a bake: memory, so nothing of it is in the AMI."""

OUTPUT = 20_000
"""Characters read at a time. SSM gives the first 24,000 of a command's output."""

ENDED = ("Success", "Failed", "TimedOut", "Cancelled")


@dataclass(frozen=True)
class Reply:
    """What came of one command: SSM's status, exit code (-1 for none) and the output's start."""

    status: str
    exit_code: int
    output: str


def run_command(
    aws: Aws,
    machine_id: str,
    script: str,
    *,
    timeout_s: float,
    why: str,
    expected_s: float | None = None,
) -> Reply:
    """Run a script as root on the machine and wait for its end; `timeout_s` is its own limit.

    `expected_s` is when its end is expected. An answer that gets lost can run the script twice at
    once: it must bear that.
    Raises `MachineLostError`, and `BakeError` when SSM itself refuses.
    """
    command_id = _send(aws, machine_id, script, timeout_s, why)
    looks = 0

    def look() -> Reply | None:
        nonlocal looks
        looks += 1
        found = _find_reply(aws, machine_id, command_id)
        if found is None and looks % 10 == 0:
            is_running(aws, machine_id)
        return found

    try:
        # Delivery can take a minute or two before the script's own limit starts to count.
        reply = waiting.wait_until(look, timeout_s=timeout_s + 180, expected_s=expected_s)
    except waiting.WaitTimeoutError as error:
        is_running(aws, machine_id)
        if error.cause:
            brief = f"lost sight of {why!r} on {machine_id}"
            raise bake_error(error.cause, brief, "ssm:GetCommandInvocation") from None
        return Reply("TimedOut", -1, f"no answer within {timeout_s:.0f} s")
    if reply.status != "Success":
        is_running(aws, machine_id)
    return reply


def _send(aws: Aws, machine_id: str, script: str, timeout_s: float, why: str) -> str:
    send = partial(_find_command_id, aws, machine_id, script, timeout_s, why)
    try:
        return waiting.wait_until(send, timeout_s=120, first_s=0.5)
    except waiting.WaitTimeoutError:
        raise BakeError(
            f"could not run {why!r} on {machine_id}",
            "SSM says that it does not know this machine, for two minutes now.",
            "Its SSM agent has stopped or cannot reach SSM; run `pulumi up` again.",
        ) from None


def _find_command_id(
    aws: Aws, machine_id: str, script: str, timeout_s: float, why: str
) -> str | None:
    try:
        sent = aws.ssm.send_command(
            InstanceIds=[machine_id],
            DocumentName="AWS-RunShellScript",
            Comment=why[:100],
            TimeoutSeconds=120,
            Parameters={
                "commands": script.splitlines(),
                "executionTimeout": [str(max(int(timeout_s), 1))],
            },
        )
        return str(sent["Command"].get("CommandId", ""))
    except Exception as error:
        if not is_aws_error(error):
            raise
        if get_code(error) == "InvalidInstanceId":
            is_running(aws, machine_id)
            return None  # Not known to SSM yet, or for a moment.
        raise bake_error(
            error, f"could not run {why!r} on {machine_id}", "ssm:SendCommand"
        ) from error


def _find_reply(aws: Aws, machine_id: str, command_id: str) -> Reply | None:
    try:
        found = aws.ssm.get_command_invocation(CommandId=command_id, InstanceId=machine_id)
    except Exception as error:
        if get_code(error) == "InvocationDoesNotExist":
            return None
        if is_transient(error):
            raise waiting.NoAnswerError(error) from error
        if not is_aws_error(error):
            raise
        brief = f"could not read the answer of {machine_id}"
        raise bake_error(error, brief, "ssm:GetCommandInvocation") from error
    if found["Status"] not in ENDED:
        return None
    output = found.get("StandardOutputContent", "")
    errors = found.get("StandardErrorContent", "")
    text = f"{output}\n{errors}" if errors.strip() else output
    return Reply(found["Status"], int(found.get("ResponseCode", -1)), text)


def read_file(aws: Aws, machine_id: str, path: str) -> str:
    """The text of a file on the machine (its last 4 MB); empty if it is not there."""
    script = f"tail -c 4000000 {shlex.quote(path)} 2>/dev/null"
    return read_output(aws, machine_id, script, why=f"read {path}")


def read_output(aws: Aws, machine_id: str, script: str, *, why: str) -> str:
    """All that a script prints, however much; it runs once. Empty where nothing can be read."""
    copy = f"{STATE}/delivery/read-{secrets.token_hex(8)}"
    make = (
        f"[ -f {copy} ] || {{ umask 077; mkdir -p {STATE}/delivery; "
        f"{{ {script}\n}} | gzip -cn | base64 -w 0 >{copy}.new; mv -f {copy}.new {copy}; }}"
    )
    text = ""
    while True:
        piece = f"tail -c +{len(text) + 1} {copy} | head -c {OUTPUT}"
        whole = f'[ "$(stat -c %s {copy})" -ge {len(text) + OUTPUT} ] || rm -f {copy}'
        script_now = "\n".join([make, piece, whole])
        reply = run_command(aws, machine_id, script_now, timeout_s=120, why=why[:100])
        part = reply.output.strip()
        text += part
        if reply.status != "Success" or len(part) < OUTPUT:
            break
    try:
        return gzip.decompress(base64.b64decode(text)).decode(errors="replace")
    except (ValueError, EOFError, OSError):
        return ""
