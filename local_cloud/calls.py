"""The log of AWS calls: one JSON line each, kept with the state."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_READS = re.compile(
    r"^(Describe|Get|List|Head|BatchGet|BatchCheck|BatchDescribe|Lookup|Search|Simulate|Validate"
    r"|Select|Preview|AssumeRole|DecodeAuthorizationMessage)"
)


@dataclass(frozen=True, kw_only=True)
class LoggedCall:
    """One call. `time` is seconds since the epoch, `code` the AWS error code, None on success."""

    time: float
    duration_ms: float
    service: str
    action: str
    region: str
    account: str
    access_key: str
    status: int
    code: str | None
    mutating: bool
    request_id: str
    fault: str | None = None


def is_mutating(action: str, params: dict[str, Any] | None = None) -> bool:
    """Whether the action may change something, by AWS's own naming; a dry run does not."""
    if params and params.get("DryRun"):
        return False
    return not _READS.match(action)


class CallLog:
    """Appends to a file, so that it is whole even when the cloud is killed.

    A call is answered also where the disk is full; its line is written when there is room again, as
    far as a buffer holds it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def add(self, call: LoggedCall) -> None:
        line = json.dumps(asdict(call), separators=(",", ":")) + "\n"
        with self._lock:
            if self._file.closed:
                return
            with contextlib.suppress(OSError):
                self._file.write(line)
                self._file.flush()

    def read(self) -> list[dict[str, Any]]:
        """All calls so far, oldest first."""
        return read_calls(self._path)

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._file.close()


def read_calls(path: Path) -> list[dict[str, Any]]:
    """The calls in a log file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    calls = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            calls.append(json.loads(line))
        except ValueError:
            continue
    return calls


def summarise(calls: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What `calls --json` prints: totals, counts by `service:Action`, and the calls."""
    kept = list(calls)
    by_action = Counter(f"{call['service']}:{call['action']}" for call in kept)
    return {
        "total": len(kept),
        "mutating": sum(1 for call in kept if call["mutating"]),
        "by_action": dict(sorted(by_action.items())),
        "calls": kept,
    }
