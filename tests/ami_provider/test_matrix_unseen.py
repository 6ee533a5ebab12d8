"""What a bake has just made cannot be seen for a while: EC2 and IAM are eventually consistent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ami_provider.errors import BakeError
from local_cloud.faults import Faults
from local_cloud.faults.kinds import Unseen, UnseenKind
from tests.ami_provider.clouds import ONE_AMI, Bakery
from tests.ami_provider.matrix import PhasedAws, clear, open_matrix, outcome, refresh, run

Record = Callable[[str, object], None]
KINDS: tuple[UnseenKind, ...] = ("instance", "image", "snapshot", "tags")
LOOKS = 6
"""So many calls that name or list a new thing are answered as if it were not there."""


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


def test_what_is_new_may_be_unseen_at_first(bakery: Bakery, record_property: Record) -> None:
    """Each kind by itself, then all of them at once."""
    recipe, site = bakery.resolve(), bakery.site()
    with outcome("unseen at first", record_property) as went:
        for kinds in (*((kind,) for kind in KINDS), KINDS):
            faults = bakery.cloud.faults = Faults([Unseen(of=kind, looks=LOOKS) for kind in kinds])
            went.cells += 1
            try:
                run(bakery, PhasedAws(bakery.cloud.region), refresh(recipe), site)
                bakery.cloud.faults = Faults()
                assert all(entry["used"] for entry in faults.shown()), "it did not happen"
                assert bakery.count() == ONE_AMI
                went.succeeded += 1
            except (BakeError, AssertionError) as error:
                went.wrong.append(f"{' and '.join(kinds)}: {error}")
            clear(bakery)
