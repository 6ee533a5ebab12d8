"""The client dies before or after any of a bake's AWS calls; a plain second run ends well."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.ami_provider.clouds import ONE_AMI, Bakery
from tests.ami_provider.matrix import (
    Cell,
    KilledError,
    Moment,
    PhasedAws,
    clear,
    list_calls,
    open_matrix,
    outcome,
    refresh,
    run,
)

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_any_death_a_second_run_gives_one_ami(
    bakery: Bakery, moment: Moment, record_property: Record
) -> None:
    resolved, site = bakery.resolve(), bakery.site()
    calls = list_calls(bakery, resolved)
    assert len(calls) > 30
    with outcome(f"killed {moment} the call", record_property) as went:
        for what, dies in list_deaths(calls):
            recipe = refresh(resolved)
            dying = PhasedAws(bakery.cloud.region)
            dying.moment, dying.dies = moment, dies
            with pytest.raises(KilledError):
                run(bakery, dying, recipe, site)
            run(bakery, PhasedAws(bakery.cloud.region), recipe, site)
            went.cells += 1
            if bakery.count() == ONE_AMI:
                went.succeeded += 1
            else:
                went.wrong.append(f"{what}: {bakery.count()}")
            clear(bakery)


def list_deaths(calls: list[Cell]) -> list[tuple[str, Callable[[Cell, int], bool]]]:
    """At the first call of each action in each phase; with BAKED_AMI_LONG at every single call."""
    if os.environ.get("BAKED_AMI_LONG"):
        return [
            (f"call {number}, {cell}", lambda _cell, n, number=number: n == number)  # type: ignore[misc]
            for number, cell in enumerate(calls, 1)
        ]
    return [
        (str(cell), lambda now, _n, cell=cell: now == cell)  # type: ignore[misc]
        for cell in dict.fromkeys(calls)
    ]
