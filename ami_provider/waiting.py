"""Waits for something in AWS: often at first, then at a share of the time it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_S = 0.25
LONGEST_S = 20.0
SHARE = 0.12
"""Pause as a share of the time waited: a wait ends at most this much late, with few calls."""

sleep = time.sleep
now = time.monotonic


class WaitTimeoutError(Exception):
    """What was waited for did not come in the time allowed."""


def wait_until(look: Callable[[], T | None], *, timeout_s: float, first_s: float = FIRST_S) -> T:
    """Call `look` until it gives something; raises `WaitTimeoutError` after `timeout_s` seconds.

    It looks at once, and once more at the very end. Errors of `look` pass through.
    """
    start = now()
    while True:
        found = look()
        if found is not None:
            return found
        elapsed = now() - start
        if elapsed >= timeout_s:
            raise WaitTimeoutError(f"nothing after {elapsed:.0f} s")
        pause = min(max(first_s, elapsed * SHARE), LONGEST_S)
        sleep(min(pause, max(timeout_s - elapsed, 0.01)))
