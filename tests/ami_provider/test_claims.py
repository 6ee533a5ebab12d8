"""Which AMI of a resource is the current one, which are earlier, and which failed."""

from __future__ import annotations

import pytest

from ami_provider.claims import Claim, choose_kept, find_successor, next_claim, read_claim


@pytest.mark.parametrize("text", ["1.2.0f", "3.3.earlier", "12.40.deadbeef"])
def test_a_claim_reads_as_it_was_written(text: str) -> None:
    assert str(read_claim(text)) == text


@pytest.mark.parametrize("text", ["", "0f0f", "1.2", "a.b.c", "1.2.3.4"])
def test_a_text_of_another_form_is_older_than_all(text: str) -> None:
    assert read_claim(text) == Claim(0, 0, text)


def take(held: dict[str, Claim], image_id: str) -> Claim:
    """A create takes this AMI; its claim."""
    turn = len(str(held))
    held[image_id] = next_claim(held, image_id, nonce=f"{turn:x}", now_s=0)
    return held[image_id]


def test_the_last_taken_is_the_current_one() -> None:
    held: dict[str, Claim] = {}
    first = take(held, "a")
    assert find_successor(held, "a", first) is None
    second = take(held, "b")
    assert find_successor(held, "a", first) == "b"
    assert find_successor(held, "b", second) is None
    del held["a"]
    assert find_successor(held, "a", first) == "b", "also of an AMI that is gone"


def test_a_turn_is_later_than_all_that_are_seen_and_than_the_last_second() -> None:
    held = {"a": Claim(5, 70, "0a")}
    assert next_claim(held, "b", nonce="0b", now_s=60.5).turn == 71
    assert next_claim(held, "b", nonce="0b", now_s=100.5).turn == 100
    assert next_claim({}, "b", nonce="0b", now_s=-3).turn == 1


@pytest.mark.parametrize("known", [Claim(1, 1, "0a"), Claim(9, 9, "0a")])
def test_whatever_the_clock_said_one_that_was_not_replaced_outlives_one_that_is_gone(
    known: Claim,
) -> None:
    held = {"new": Claim(3, 3, "0b"), "old": Claim(2, 2, "0c").as_earlier()}
    assert find_successor(held, "gone", known) == "new"
    del held["new"]
    assert find_successor(held, "gone", Claim(9, 9, "0a")) is None


def test_earlier_amis_stay_the_newest_first() -> None:
    held: dict[str, Claim] = {}
    for image_id in "abcd":
        take(held, image_id)
    assert choose_kept(held, "d", 0) == []
    assert choose_kept(held, "d", 2) == ["c", "b"]
    assert choose_kept(held, "d", 9) == ["c", "b", "a"]


def test_a_roll_out_that_failed_is_no_earlier_ami() -> None:
    """a, then b fails before a was let go of, and a is taken again."""
    held: dict[str, Claim] = {}
    before = take(held, "a")
    failed = take(held, "b")
    after = take(held, "a")
    assert (after.since, after.is_of(before)) == (before.since, False)
    assert find_successor(held, "b", failed) == "a"
    assert choose_kept(held, "a", 5) == []


def test_a_rollback_to_an_earlier_ami_keeps_what_served_after_it() -> None:
    """a, then b serves and a becomes an earlier one, then a is taken again."""
    held: dict[str, Claim] = {}
    first = take(held, "a")
    take(held, "b")
    held["a"] = held["a"].as_earlier()
    assert held["a"].is_of(first), "a repeated delete still knows it"
    take(held, "a")
    assert choose_kept(held, "a", 5) == ["b"]


def test_a_failure_after_a_rollback_is_told_from_what_served() -> None:
    """a, b serves, back to a; then c fails and a is taken again: b stays, c does not."""
    held: dict[str, Claim] = {}
    take(held, "a")
    take(held, "b")
    held["a"] = held["a"].as_earlier()
    take(held, "a")
    held["b"] = held["b"].as_earlier()
    take(held, "c")
    take(held, "a")
    assert choose_kept(held, "a", 5) == ["b"]
