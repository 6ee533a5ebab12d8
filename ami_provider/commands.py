"""Runs scripts on a machine through SSM Run Command, once each, whatever answers are lost."""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.errors import BakeError, bake_error, get_code, is_aws_error, is_transient
from ami_provider.failures import find_failure
from ami_provider.instance_state import is_running

STATE = "/run/baked-ami"
"""Where a machine keeps everything of a bake: memory, so nothing of it is in the AMI."""

CHUNK = 40_000
"""Characters of one command. SSM refuses a document with its parameters beyond 64 KiB."""

END = "end-of-this-baked-ami-file"

OUTPUT = 20_000
"""Characters read at a time. SSM gives the first 24,000 of a command's output."""

RESULT = re.compile(r"^baked-ami-result: (.*)$", re.MULTILINE)
KEPT_LOG = re.compile(r"^baked-ami-log: (s3://.*)$", re.MULTILINE)
LOST_LOG = re.compile(r"^baked-ami-log: not kept: (.*)$", re.MULTILINE)
BEGUN = re.compile(r"^baked-ami-step: (\S+)$\n?", re.MULTILINE)
ENDED = ("Success", "Failed", "TimedOut", "Cancelled")


@dataclass(frozen=True)
class Reply:
    """What came of one command: SSM's status, exit code (-1 for none) and the output's start."""

    status: str
    exit_code: int
    output: str


@dataclass(frozen=True)
class StepReply:
    """What came of a step. `result` is empty where the machine told nothing.

    `log` is where in S3 its whole log is, `log_lost` why it is not there; both can be empty.
    """

    reply: Reply
    result: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    log_lost: str = ""

    @property
    def ok(self) -> bool:
        return self.reply.status == "Success"


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


def deliver(aws: Aws, machine_id: str, files: Mapping[str, bytes]) -> None:
    """Put files below `STATE` on the machine, each whole or not at all; none is on its disk."""
    script = [f"put() {{ cat >{STATE}/$1.$$; mv -f {STATE}/$1.$$ {STATE}/$1; }}"]
    for name, content in sorted(files.items()):
        script += _put(name, content)
    packed = gzip.compress("\n".join([*script, ""]).encode(), mtime=0)
    text = base64.b64encode(packed).decode()
    name = secrets.token_hex(8)  # Its own: another client may deliver to this machine just now.
    folder = f"{STATE}/delivery"
    head = f"set -eu; umask 077; mkdir -p {folder} {STATE}/steps"
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    for number, chunk in enumerate(chunks):
        part = f"{folder}/{name}.{number:04}"
        lines = [head, f"cat >{part}-$$ <<'.'", chunk, ".", f"mv -f {part}-$$ {part}"]
        if number == len(chunks) - 1:  # Perhaps run twice at once, when its answer was lost.
            whole = f"{folder}/{name}"
            lines += [
                f"exec 9>{whole}.lock",
                "flock 9",
                f"if [ ! -e {whole}.done ]; then",
                f"cat {whole}.[0-9][0-9][0-9][0-9] | base64 -di | gzip -dc >{whole}.sh",
                f"bash -eu {whole}.sh",
                f"touch {whole}.done",
                f"rm -f {whole}.sh",
                "fi",
                f"find {folder} -name '{name}.[0-9]*' -delete",
            ]
        why = f"deliver the steps ({number + 1} of {len(chunks)})"
        _insist(aws, machine_id, "\n".join(lines), why)


def _put(name: str, content: bytes) -> list[str]:
    """Lines that put one file. Plain text stays as it is, which packs to a third of its base64."""
    plain = content.isascii() and content.endswith(b"\n") and b"\0" not in content
    if plain and END.encode() not in content:
        return [f"put {shlex.quote(name)} <<'{END}'", content.decode() + END]
    text = base64.encodebytes(content).decode()
    return [f"base64 -d <<'{END}' | put {shlex.quote(name)}", text + END]


def _insist(aws: Aws, machine_id: str, script: str, why: str) -> None:
    """Run what can only fail for a moment: a machine that has just come up."""
    for pause in (0.5, 2.0, 5.0, 0.0):
        reply = run_command(aws, machine_id, script, timeout_s=120, why=why)
        if reply.status == "Success":
            return
        waiting.sleep(pause)
    if known := find_failure(reply.output):
        raise BakeError(
            f"could not {why} on {machine_id}: {known.failure.cause}",
            f"{reply.status}: {reply.output[-800:]}",
            known.failure.remedy,
        )
    raise BakeError(
        f"could not {why} on {machine_id}",
        f"{reply.status}: {reply.output[-800:]}",
        "The base AMI must have bash, coreutils, gzip and util-linux, and room in /run.",
    )


@dataclass(frozen=True)
class Order:
    """One step to run: its script's name, what its outcome depends on, and its own limit."""

    step: str
    key: str
    timeout_s: float


def run_steps(
    aws: Aws,
    machine_id: str,
    orders: Sequence[Order],
    *,
    expected_s: float | None = None,
    debug: bool = False,
) -> list[StepReply]:
    """Run delivered steps one after the other, in one command; a reply for each that was begun.

    All but the last reply are of steps that ended well. One that ended well for its `key` before is
    not run again.
    """
    token = secrets.token_hex(8)
    trace = "BAKED_AMI_DEBUG=yes " if debug else ""
    lines = ["set -e"]
    for order in orders:
        lines += [
            f"echo 'baked-ami-step: {order.step}'",
            f"{trace}bash {STATE}/steps/run.sh {shlex.quote(order.step)} {order.key} {token} "
            f"{int(order.timeout_s)}",
        ]
    reply = run_command(
        aws,
        machine_id,
        "\n".join(lines),
        timeout_s=sum(order.timeout_s + 60 for order in orders),
        why=f"step {', '.join(order.step for order in orders)}",
        expected_s=expected_s,
    )
    _, *parts = BEGUN.split(reply.output)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    named = [order.step for order in orders]
    begun = named
    if reply.status != "Success":
        begun = [step for step in named if step in told] or named[:1]
    *ended, last = begun
    replies = {step: Reply("Success", 0, told.get(step, "")) for step in ended}
    replies[last] = replace(reply, output=told.get(last, "" if told else reply.output))
    return [_read_step(aws, machine_id, step, one) for step, one in replies.items()]


def _read_step(aws: Aws, machine_id: str, step: str, reply: Reply) -> StepReply:
    told = RESULT.findall(reply.output)
    log, lost = ((*found.findall(reply.output), "")[0] for found in (KEPT_LOG, LOST_LOG))
    if told and told[-1] == "too long":
        told = [read_file(aws, machine_id, f"{STATE}/results/{step}.json")]
    try:
        result = dict(json.loads(told[-1] or "{}")) if told else {}
    except ValueError:
        result = {}
    return StepReply(reply, result, log, lost)


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
