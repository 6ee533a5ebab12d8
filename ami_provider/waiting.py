"""Waits for something in AWS: often at first and around the expected end, else ever less often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_S = 0.1
LONGEST_S = 10.0
SHARE = 0.25
"""Pause as a share of the time waited: a wait ends little late and makes few calls."""
NEAR = 0.05
"""Shortest pause just before the expected end, and longest ever, as a share of what is expected."""

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


def wait_until(
    look: Callable[[], T | None],
    *,
    timeout_s: float,
    first_s: float | None = None,
    expected_s: float | None = None,
) -> T:
    """Call `look` until it gives something; raises `WaitTimeoutError` after `timeout_s` seconds.

    It looks at once, and once more at the very end. Errors of `look` pass through, but for
    `NoAnswerError`. `first_s` is the shortest pause, for what cannot be there sooner.
    `expected_s` is when the end is expected: pauses shorten towards it.
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
        pause = get_pause(elapsed, first_s=first_s or FIRST_S, expected_s=expected_s)
        pause = align(now(), pause)
        sleep(min(pause, max(timeout_s - elapsed, 0.01)))


def get_pause(elapsed: float, *, first_s: float, expected_s: float | None) -> float:
    """Seconds until the next look, after `elapsed` seconds of waiting.

    A quarter of the time waited so far, so that a wait ends at most a quarter late. Before the
    expected end at most half of what is left, so that a look falls right on it. What is expected
    to take hours is looked at every few minutes.
    """
    longest = max(LONGEST_S, (expected_s or 0.0) * NEAR)
    pause = min(max(first_s, elapsed * SHARE), longest)
    if expected_s and elapsed < expected_s:
        pause = min(pause, max((expected_s - elapsed) / 2, expected_s * NEAR, first_s))
    return pause


def align(at: float, pause: float) -> float:
    """The pause, shortened by less than half so that waits beside each other wake together.

    Then one call can answer them all (`watching`). `at` is the clock's time now, in seconds.
    """
    grid = 2.0 ** math.floor(math.log2(pause / 2))
    return max(math.floor((at + pause) / grid) * grid - at, pause / 2)
