"""One resource's claims on its AMIs: which is the current one, which are earlier or failed. Pure.

A claim is the value of an owner tag. Each create of the resource takes a higher turn than any that
is still to be seen; the clock only helps where an AMI, and its tags with it, was deleted by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

EARLIER = "earlier"


@dataclass(frozen=True)
class Claim:
    """What one resource says on one AMI.

    `turn`: when one of its creates took this AMI last (about seconds since 1970, and never less
    than an earlier one's); the highest is the current AMI.
    `since`: the turn at which it took the AMI without having let go of it since.
    `nonce`: that create's own, which the state keeps too; `earlier` once another AMI has replaced
    this one and it stays for a rollback.
    """

    since: int
    turn: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.since}.{self.turn}.{self.nonce}"

    @property
    def is_earlier(self) -> bool:
        return self.nonce == EARLIER

    def as_earlier(self) -> Claim:
        return replace(self, nonce=EARLIER)

    def is_of(self, known: Claim) -> bool:
        """Whether this is the claim that the state knows, or what became of it when it was kept.

        If it is not, a later create of the same resource has taken the AMI.
        """
        same = (self.since, self.turn) == (known.since, known.turn)
        return same and (self.is_earlier or self.nonce == known.nonce)


def read_claim(text: str) -> Claim:
    """The claim in a tag or a state; a text of another form is one older than all others."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\w+)", text)
    return Claim(int(found[1]), int(found[2]), found[3]) if found else Claim(0, 0, text)


def next_claim(held: Mapping[str, Claim], image_id: str, *, nonce: str, now_s: float) -> Claim:
    """The claim of a create that takes this AMI; `held` has the resource's claims by AMI.

    An AMI that was not let go of keeps its `since`: taking it again undoes a roll-out that failed.
    """
    turn = max(int(now_s), *(claim.turn + 1 for claim in held.values()), 1)
    mine = held.get(image_id)
    since = mine.since if mine and not mine.is_earlier else turn
    return Claim(since, turn, nonce)


def find_successor(held: Mapping[str, Claim], image_id: str, known: Claim) -> str | None:
    """The resource's current AMI, where that is another one than this; None if nothing came later.

    `known` is what the state says of this AMI. Where it is gone itself, and its own tag with it,
    any AMI that was not replaced counts: to take too much for the current one deletes nothing.
    """
    others = {i: c for i, c in held.items() if i != image_id}
    later = {
        i: c
        for i, c in others.items()
        if c.turn >= known.turn or (image_id not in held and not c.is_earlier)
    }
    return max(later, key=lambda i: later[i].turn) if later else None


def choose_kept(held: Mapping[str, Claim], current: str, keep: int) -> list[str]:
    """The AMIs that stay for a rollback, the newest first: at most `keep`.

    One that was claimed after the current one, while that was never let go of, is a roll-out that
    failed: it is no earlier AMI, and nobody wants it back.
    """
    since = held[current].since
    earlier = [i for i, c in held.items() if i != current and c.since < since]
    return sorted(earlier, key=lambda i: held[i].turn, reverse=True)[:keep]
