"""Delivered steps on a machine: several in one command, and what came of each."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ami_provider.aws import Aws
from ami_provider.commands import STATE, Reply, read_file, run_command

RESULT = re.compile(r"^baked-ami-result: (.*)$", re.MULTILINE)
KEPT_LOG = re.compile(r"^baked-ami-log: (s3://.*)$", re.MULTILINE)
LOST_LOG = re.compile(r"^baked-ami-log: not kept: (.*)$", re.MULTILINE)
BEGUN = re.compile(r"^baked-ami-step: (\S+)$\n?", re.MULTILINE)


@dataclass(frozen=True)
class Order:
    """One step to run: its script's name, what its outcome depends on, and its own limit."""

    step: str
    key: str
    timeout_s: float


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
