"""The time a cloud goes by where it makes things take time: the host's, or one that tests move."""

from __future__ import annotations

import threading
import time


class Clock:
    """The host's clock. Times are seconds since 1970."""

    def now(self) -> float:
        return time.time()

    def wait_until(self, moment: float, given_up: threading.Event) -> bool:
        """Return at that time, or as soon as `given_up` is set: whether it was before that time."""
        left = moment - self.now()
        return left > 0 and given_up.wait(left)


class ManualClock(Clock):
    """A clock that stands still until `advance`: what is due by then happens, nothing else does."""

    #: How often a waiting thread looks whether it was given up.
    _LOOK_S = 0.02

    def __init__(self) -> None:
        self._now = time.time()
        self._moved = threading.Condition()

    def now(self) -> float:
        with self._moved:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let that much time go by."""
        with self._moved:
            self._now += seconds
            self._moved.notify_all()

    def wait_until(self, moment: float, given_up: threading.Event) -> bool:
        with self._moved:
            while self._now < moment and not given_up.is_set():
                self._moved.wait(self._LOOK_S)
            return self._now < moment
