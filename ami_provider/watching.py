"""One describe call for everything of a kind that this process waits for, over all its bakes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ami_provider import waiting
from ami_provider.aws import Aws

T = TypeVar("T")

FRESH_S = 0.25
"""Waits wake together (`waiting.align`): an answer this young is for each of them."""

FORGOTTEN_S = 60.0
"""What nobody has asked for this long is left out of the next call."""

MOST = 100
"""IDs in one call; SSM takes 100 values in a filter, EC2 200."""


class Watch(Generic[T]):
    """Answers `look(id)` from the last call where that is fresh, else asks for all IDs at once.

    `fetch` gives what it found by ID; it must not fail for one that does not exist (use filters).
    """

    def __init__(self, fetch: Callable[[Sequence[str]], dict[str, T]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._answers: dict[str, tuple[float, T | None]] = {}

    def look(self, thing: str) -> T | None:
        """What AWS says of it now, None where it does not know it. Each answer is given once."""
        with self._lock:
            self._asked[thing] = waiting.now()
            known = self._answers.pop(thing, None)
            if known and known[0] >= waiting.now() - FRESH_S:
                return known[1]
            return self._ask(thing)

    def forget(self, thing: str) -> None:
        """Nobody waits for it any more: the next calls leave it out."""
        with self._lock:
            self._asked.pop(thing, None)
            self._answers.pop(thing, None)

    def _ask(self, thing: str) -> T | None:
        start = waiting.now()
        self._asked = {i: at for i, at in self._asked.items() if at >= start - FORGOTTEN_S}
        others = sorted(self._asked.keys() - {thing})[: MOST - 1]
        found = self._fetch([thing, *others])
        self._answers = {other: (start, found.get(other)) for other in others}
        return found.get(thing)


_lock = threading.Lock()


def get_watch(aws: Aws, kind: str, fetch: Callable[[Aws, Sequence[str]], dict[str, T]]) -> Watch[T]:
    """The process's one watch of this kind of thing in this region."""
    with _lock:
        watches: dict[str, Watch[T]] = aws.shared.setdefault("watches", {})
        if kind not in watches:
            watches[kind] = Watch(lambda ids: fetch(aws, ids))
        return watches[kind]
