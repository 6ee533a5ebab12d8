"""SSM's commands as this cloud keeps them, and SSM's limits on their output."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local_cloud.cloud import Cloud

PLUGIN = "aws:runShellScript"
#: GetCommandInvocation's limits in botocore's model; 2,500 for a plugin's output in a list.
STDOUT_LIMIT, STDERR_LIMIT, OUTPUT_LIMIT = 24_000, 8_000, 2_500
#: What amazon-ssm-agent puts in place of the end (agent/plugins/pluginutil).
CUT = "--output truncated--"
FINAL = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})
DETAILS = {"TimedOut": "Execution Timed Out"}


@dataclass
class Invocation:
    """A command on one machine. Output is whole; `ended` is None until it is over."""

    instance_id: str
    status: str = "Pending"
    exit_code: int = -1
    stdout: bytes = b""
    stderr: bytes = b""
    started: datetime | None = None
    ended: datetime | None = None
    stdout_url: str = ""
    stderr_url: str = ""

    @property
    def details(self) -> str:
        return DETAILS.get(self.status, self.status)


@dataclass
class Command:
    """One SendCommand with its invocations by machine."""

    id: str
    account: str
    region: str
    view: dict[str, Any]
    invocations: dict[str, Invocation] = field(default_factory=dict)

    def status(self) -> str:
        """The command's own status, from those of its invocations (SSM user guide)."""
        found = [one.status for one in self.invocations.values()]
        for status in ("Pending", "InProgress", "Cancelling"):
            if status in found:
                return status
        for status in ("Failed", "TimedOut", "Cancelled"):
            if status in found:
                return status
        return "Success"


_cancels: dict[tuple[str, str], threading.Event] = {}


def cancel_event(command_id: str, instance_id: str) -> threading.Event:
    """Set to cancel the command on this machine."""
    return _cancels.setdefault((command_id, instance_id), threading.Event())


def commands(cloud: Cloud) -> dict[str, Command]:
    return cloud.store.table("ssm commands")


def cut(output: bytes, limit: int) -> str:
    """The output as the agent reports it: what reaches the limit loses its end for a remark."""
    if len(output) >= limit:
        output = output[: limit - len(CUT)] + CUT.encode()
    return output.decode("utf-8", errors="replace")


def iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def elapsed(invocation: Invocation) -> str:
    """An ISO 8601 duration, as SSM gives it."""
    if invocation.started is None or invocation.ended is None:
        return ""
    return f"PT{max(0.001, (invocation.ended - invocation.started).total_seconds()):.3f}S"
