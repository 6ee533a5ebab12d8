"""What a person reads while it works: lines on standard error, never more than they can follow."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable


def say(text: str) -> None:
    """Write one line on standard error, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def in_words(seconds: float) -> str:
    """A duration a person would say: "40 s" below 90 seconds, whole minutes above."""
    if seconds < 90:
        return f"{max(5, math.ceil(seconds / 5) * 5)} s"
    return f"{math.ceil(seconds / 60)} min"


class Progress:
    """Says how far a long task has come, at most once every `every` seconds, the first time too."""

    def __init__(
        self,
        every: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = say,
    ) -> None:
        self._every = every if every is not None else (2.0 if sys.stderr.isatty() else 10.0)
        self._clock = clock
        self._write = write
        self._started = self._last = clock()

    def show(self, text: str) -> None:
        """Say `text`, unless something was said less than `every` seconds ago."""
        now = self._clock()
        if now - self._last >= self._every:
            self._last = now
            self._write(f"  {text} ({self.elapsed():.0f} s)")

    def elapsed(self) -> float:
        """Seconds since this task began."""
        return self._clock() - self._started
