"""A cloud's latency: draws figures from its profile, and waits for them."""

from __future__ import annotations

import random
import threading
from collections import Counter

from local_cloud.clock import Clock
from local_cloud.latency.profile import Profile


class Latency:
    """The profile in force, which may be replaced at any time: what has begun keeps its times.

    Ranges are drawn from in order, so the same calls after the same profile take the same times.
    """

    def __init__(self, profile: Profile | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._lock = threading.Lock()
        self.use(profile or Profile())

    def use(self, profile: Profile) -> None:
        """Take figures from this profile from now on."""
        with self._lock:
            self._profile = profile
            self._drawn: Counter[str] = Counter()

    @property
    def profile(self) -> Profile:
        return self._profile

    def draw(self, figure: str) -> float:
        """The next value of a figure, in seconds."""
        with self._lock:
            given = getattr(self._profile, figure)
            if not isinstance(given, tuple):
                return float(given)
            self._drawn[figure] += 1
            name = f"{self._profile.seed} {figure} {self._drawn[figure]}"
        return random.Random(name).uniform(*given)  # noqa: S311

    def due(self, figure: str) -> float:
        """When something that begins now is over."""
        return self.clock.now() + self.draw(figure)

    def is_instant(self, figure: str) -> bool:
        """Whether the figure is 0 whatever is drawn."""
        return getattr(self._profile, figure) in (0, (0, 0))

    def is_past(self, moment: float) -> bool:
        return self.clock.now() >= moment
