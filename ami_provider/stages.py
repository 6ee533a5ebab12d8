"""Tells the stages of a bake as they pass: step k of n, what, time so far and expected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK_S = 2.0


class Stages:
    """The course of one bake. `report` takes one line of text and may be called from any thread.

    `announce` takes what must stay readable (a fallback, a warning, a log in debug mode), if that
    differs.
    `timings` holds the seconds of every finished stage, in their order; `warnings` what a reader
    must still know at the end, though the bake went well; `now` is the stage it is in.
    `is_partial`: a stage ran twice, or another run did a part of one, so that the timings are not
    those of one whole bake.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        total: int,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.report = report
        self.announce = announce or report
        self.total = total
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self.now = ""
        self.is_partial = False
        self._number = 0
        self._detail = ""
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def warn(self, text: str) -> None:
        """Tell it now, and keep it for the end."""
        self.warnings.append(text)
        self.announce(text)

    def note(self, text: str) -> None:
        """Tell of a retry or a fallback, once, in a line that stays."""
        with self._lock:
            known = text in self._said
            self._said.add(text)
        if not known:
            self.announce(text)

    def note_retry(self, action: str, reason: str) -> None:
        """AWS failed a call for now: told once for each action and reason."""
        self.note(f"AWS: {action} failed for now ({reason}); trying again")

    def set_detail(self, text: str) -> None:
        """What the present stage's line says after its times, until the stage ends."""
        self._detail = text

    @contextmanager
    def stage(self, what: str, *, expected_s: float | None = None) -> Iterator[None]:
        """One stage, told when it starts and every other second until it ends."""
        with self._lock:
            self._number += 1
            head = f"step {self._number} of {max(self.total, self._number)}: {what}"
            self.now, self._detail = what, ""
            self.is_partial = self.is_partial or what in self.timings
        start = time.monotonic()
        ended = threading.Event()
        self.report(head + _clock(None, expected_s))

        def tick() -> None:
            while not ended.wait(TICK_S):
                detail = f" · {self._detail}" if self._detail else ""
                self.report(head + _clock(time.monotonic() - start, expected_s) + detail)

        ticker = threading.Thread(target=tick, daemon=True, name=f"stage {what}")
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()
            with self._lock:
                took = time.monotonic() - start
                self.timings[what] = round(self.timings.get(what, 0.0) + took, 3)


def _clock(elapsed_s: float | None, expected_s: float | None) -> str:
    text = "" if elapsed_s is None else f" · {format_seconds(elapsed_s)}"
    return text if expected_s is None else f"{text} · expected {format_seconds(expected_s)}"


def format_seconds(seconds: float) -> str:
    """`8 s`, `4 min 10 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
