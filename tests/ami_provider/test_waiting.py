"""How waits for AWS pause, end, wake together, and share their calls."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ami_provider import waiting
from ami_provider.watching import FORGOTTEN_S, MOST, Watch


@dataclass
class Clock:
    """A clock that only sleeping moves. `pauses` are the sleeps so far, in seconds."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def until(self, end: float) -> Callable[[], bool | None]:
        """A look that gives something from `end` seconds after now."""
        due = self.now + end
        return lambda: True if self.now >= due else None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "sleep", made.sleep)
    monkeypatch.setattr(waiting, "now", lambda: made.now)
    return made


def test_a_wait_grows_its_pauses_and_ends(clock: Clock) -> None:
    with pytest.raises(waiting.WaitTimeoutError):
        waiting.wait_until(lambda: None, timeout_s=600)

    assert sum(clock.pauses) == pytest.approx(600)
    assert waiting.FIRST_S / 2 <= clock.pauses[0] <= waiting.FIRST_S
    assert max(clock.pauses) <= waiting.LONGEST_S
    assert len(clock.pauses) < 120


def test_a_look_that_fails_for_now_is_the_reason_in_the_end(clock: Clock) -> None:
    reason = OSError("no route")

    def look() -> None:
        raise waiting.NoAnswerError(reason)

    with pytest.raises(waiting.WaitTimeoutError) as raised:
        waiting.wait_until(look, timeout_s=0)

    assert raised.value.cause is reason


@pytest.mark.parametrize("expected", [20.0, 45.0, 300.0, 3600.0])
def test_what_ends_when_it_is_expected_to_is_seen_at_once(clock: Clock, expected: float) -> None:
    waiting.wait_until(clock.until(expected), timeout_s=9e9, expected_s=expected)

    late = sum(clock.pauses) - expected
    assert late <= max(expected * waiting.NEAR, waiting.FIRST_S)
    every_5_s = expected / 5
    assert len(clock.pauses) < 45 + every_5_s / 4


def test_what_takes_hours_is_looked_at_every_few_minutes(clock: Clock) -> None:
    waiting.wait_until(clock.until(7200), timeout_s=9e9, expected_s=7200)

    assert len(clock.pauses) < 100
    assert max(clock.pauses) > 180


@given(st.floats(0.01, 100_000), st.none() | st.floats(1, 100_000))
def test_no_pause_is_much_more_than_a_quarter_of_the_wait(
    elapsed: float, expected: float | None
) -> None:
    pause = waiting.get_pause(elapsed, first_s=0.1, expected_s=expected)

    assert 0 < pause <= max(0.1, elapsed * waiting.SHARE)


@given(st.floats(0, 1e6), st.floats(0.01, 1000))
def test_waits_that_begin_at_different_times_wake_together(at: float, pause: float) -> None:
    aligned = waiting.align(at, pause)

    assert pause / 2 <= aligned <= pause * 1.001
    grid = 2.0 ** math.floor(math.log2(pause / 2))
    off = (at + aligned) % grid
    assert aligned == pytest.approx(pause / 2) or min(off, grid - off) < 1e-3


@dataclass
class Asked:
    """What a watch asks for: every call's IDs."""

    calls: list[Sequence[str]] = field(default_factory=list)
    fails: bool = False

    def __call__(self, ids: Sequence[str]) -> dict[str, str]:
        self.calls.append(tuple(ids))
        if self.fails:
            raise OSError("throttled")
        return {i: f"state of {i}" for i in ids if i != "unknown"}


def test_one_call_answers_everybody_who_waits(clock: Clock) -> None:
    asked = Asked()
    watch = Watch(asked)
    for thing in ("a", "b", "c"):
        watch.look(thing)
    asked.calls.clear()

    for _ in range(5):
        clock.sleep(5)
        assert [watch.look(i) for i in "abc"] == ["state of a", "state of b", "state of c"]

    assert len(asked.calls) == 5
    assert set(asked.calls[0]) == {"a", "b", "c"}


def test_an_answer_is_given_once_and_not_when_it_is_old(clock: Clock) -> None:
    asked = Asked()
    watch = Watch(asked)
    watch.look("a")
    watch.look("b")
    watch.look("b")
    assert len(asked.calls) == 3

    watch.look("a")  # From b's last call.
    assert len(asked.calls) == 3
    watch.look("b")
    clock.sleep(1)
    watch.look("a")
    assert len(asked.calls) == 5


def test_what_nobody_asks_for_any_more_is_left_out(clock: Clock) -> None:
    asked = Asked()
    watch = Watch(asked)
    watch.look("a")
    watch.look("b")
    watch.forget("a")
    watch.look("c")
    assert set(asked.calls[-1]) == {"b", "c"}

    clock.sleep(FORGOTTEN_S + 1)
    watch.look("c")
    assert set(asked.calls[-1]) == {"c"}


def test_an_unknown_thing_and_a_failed_call_hurt_nobody_else(clock: Clock) -> None:
    asked = Asked()
    watch = Watch(asked)
    assert watch.look("unknown") is None
    assert watch.look("a") == "state of a"
    asked.fails = True
    with pytest.raises(OSError, match="throttled"):
        watch.look("b")
    asked.fails = False
    assert watch.look("a") == "state of a"


def test_a_call_names_no_more_than_a_filter_takes(clock: Clock) -> None:
    asked = Asked()
    watch = Watch(asked)
    for number in range(MOST + 20):
        watch.look(f"i-{number}")

    assert max(len(ids) for ids in asked.calls) == MOST


def test_threads_that_look_at_the_same_time_share_a_call() -> None:
    asked = Asked()
    watch = Watch(asked)
    for number in range(8):
        watch.look(str(number))
    asked.calls.clear()
    together = threading.Barrier(8)

    def look(number: int) -> None:
        together.wait()
        watch.look(str(number))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(asked.calls) < 8
