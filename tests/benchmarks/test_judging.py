"""How the measurements judge what they found: against the best peer, and in proportion."""

from __future__ import annotations

from typing import Any

from benchmarks import packer, scale


def told(changes: int, *rounds: tuple[float, int, int]) -> dict[str, Any]:
    """Seconds, calls, and calls for steps, of each round."""
    named = [{"seconds": s, "calls": c, "steps": n} for s, c, n in rounds]
    return {"changes": changes, "rounds": named}


def test_a_bake_is_compared_with_the_fastest_packer_and_with_the_thriftiest() -> None:
    rows = {
        "ours": told(2, (12, 50, 24), (13, 50, 24), (30, 50, 24)),
        "packer 1": told(4, (61, 20, 0)),
        "packer 2": told(4, (52, 25, 0)),
    }
    time, calls, all_calls = packer.judge("one", rows, 5.0)

    assert time.found == (13 - 10) / (52 - 20)  # The median; beyond each one's own changes.
    assert calls.found == (50 - 24) / 20
    assert (all_calls.found, all_calls.met) == (50 / 20, False)
    assert time.met
    assert calls.met


def test_growth_in_proportion_is_one_and_more_is_not_met() -> None:
    def rows(first: float, last: float) -> list[dict[str, Any]]:
        return [
            {"many": many, "seconds": value, "cpu_seconds": value, "calls": 9, "memory_mib": 9}
            for many, value in ((10, first), (100, last))
        ]

    time, processor, *others = scale.judge("models", rows(1.0, 10.0))
    assert (time.found, time.met, processor.found, processor.met) == (1.0, True, 1.0, True)
    assert [one.met for one in others] == [True, True]
    assert not scale.judge("models", rows(1.0, 20.0))[0].met
