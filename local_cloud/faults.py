"""Failures on order: named calls are throttled, fail, time out or lose their connection."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local_cloud.errors import AwsError

Kind = Literal["throttle", "error", "timeout", "drop-before", "drop-after"]
THROTTLE_CODES = {
    "ec2": "RequestLimitExceeded",
    "s3": "SlowDown",
    "batch": "TooManyRequestsException",
}


class FaultsFileError(Exception):
    """The faults file cannot be used; the message names the file and the entry."""


class Fault(BaseModel):
    """One entry: which calls (`*` for any), what happens, how many times (None: for ever).

    `when` compares top-level parameters with the values given. `seconds` is how long a `timeout`
    hangs before the connection is closed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = "*"
    action: str = "*"
    fault: Kind
    times: int | None = Field(default=None, ge=1)
    code: str | None = None
    message: str | None = None
    status: int | None = Field(default=None, ge=400, le=599)
    seconds: float = Field(default=60.0, ge=0)
    when: dict[str, Any] = Field(default_factory=dict)

    def matches(self, service: str, action: str, params: dict[str, Any]) -> bool:
        return (
            self.service in ("*", service)
            and self.action in ("*", action)
            and all(params.get(name) == value for name, value in self.when.items())
        )

    def error_code(self) -> str:
        if self.code:
            return self.code
        if self.fault == "throttle":
            return THROTTLE_CODES.get(self.service, "ThrottlingException")
        return "InternalError"

    def error_status(self) -> int:
        if self.status:
            return self.status
        if self.fault == "throttle":
            return 503 if self.service in ("ec2", "s3") else 400
        return 500


class Faults:
    """The faults still to happen, in the file's order; the first that matches is used up once."""

    def __init__(self, faults: list[Fault] | None = None) -> None:
        self._lock = threading.Lock()
        self._left: list[list[Any]] = [[fault, fault.times] for fault in faults or []]

    def take(self, service: str, action: str, params: dict[str, Any]) -> Fault | None:
        """The fault of this call, counted as used, or None."""
        with self._lock:
            for entry in self._left:
                fault, left = entry
                if left == 0 or not fault.matches(service, action, params):
                    continue
                if left is not None:
                    entry[1] = left - 1
                assert isinstance(fault, Fault)
                return fault.model_copy(
                    update={"service": service if fault.service == "*" else fault.service}
                )
        return None


def read_faults(path: Path) -> Faults:
    """Read a JSON list of faults. Raises FaultsFileError naming what is wrong and where."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaultsFileError(f"faults file {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FaultsFileError(f"faults file {path}: not JSON: {error}") from error
    if not isinstance(entries, list):
        raise FaultsFileError(f"faults file {path}: a JSON list of faults is needed")
    faults = []
    for number, entry in enumerate(entries, start=1):
        try:
            faults.append(Fault.model_validate(entry))
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors()
            )
            raise FaultsFileError(
                f"faults file {path}: entry {number} ({json.dumps(entry)}): {said}"
            ) from error
    return Faults(faults)


class DroppedError(Exception):
    """The connection is closed without an answer."""


def before_effect(fault: Fault) -> None:
    """What a fault does before the call has any effect."""
    if fault.fault in ("throttle", "error"):
        raise AwsError(
            fault.error_code(),
            fault.message or f"A fault on order ({fault.fault}).",
            status=fault.error_status(),
        )
    if fault.fault == "timeout":
        time.sleep(fault.seconds)
        raise DroppedError
    if fault.fault == "drop-before":
        raise DroppedError
