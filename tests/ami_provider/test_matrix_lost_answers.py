"""The answers of every AWS action of a bake, in every phase, get lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from local_cloud.faults.kinds import CallKind
from tests.ami_provider.clouds import Bakery
from tests.ami_provider.fault_matrix import go_through
from tests.ami_provider.matrix import open_matrix, outcome

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dropped before the effect", "drop-before"),
        ("dropped after the effect", "drop-after"),
    ],
)
def test_each_action_in_each_phase(
    bakery: Bakery, name: str, kind: CallKind, record_property: Record
) -> None:
    with outcome(name, record_property) as went:
        go_through(bakery, went, kind, 1)
