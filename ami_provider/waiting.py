"""Waits for something in AWS: often at first, then at a share of the time it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_S = 0.1
LONGEST_S = 10.0
SHARE = 0.2
"""Pause as a share of the time waited: a wait ends little late and makes few calls."""

sleep = time.sleep
now = time.monotonic


class NoAnswerError(Exception):
    """A look that failed for now: throttled, unreachable, a fault of AWS's. The wait goes on."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class WaitTimeoutError(Exception):
    """What was waited for did not come in time; `cause` is why the last look failed, if it did."""

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause


def wait_until(look: Callable[[], T | None], *, timeout_s: float, first_s: float = FIRST_S) -> T:
    """Call `look` until it gives something; raises `WaitTimeoutError` after `timeout_s` seconds.

    It looks at once, and once more at the very end. Errors of `look` pass through, but for
    `NoAnswerError`.
    """
    start = now()
    while True:
        cause = None
        try:
            found = look()
            if found is not None:
                return found
        except NoAnswerError as error:
            cause = error.cause
        elapsed = now() - start
        if elapsed >= timeout_s:
            raise WaitTimeoutError(f"nothing after {elapsed:.0f} s", cause)
        pause = min(max(first_s, elapsed * SHARE), LONGEST_S)
        sleep(min(pause, max(timeout_s - elapsed, 0.01)))
