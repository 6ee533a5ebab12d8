"""Every AWS action of a bake, in every phase, is throttled or fails for a while, or for ever."""

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
    ("name", "kind", "times"),
    [
        ("throttled 3 times", "throttle", 3),
        ("answered 500 twice", "error", 2),
        ("throttled for ever", "throttle", None),
        ("not permitted", "error", None),
    ],
)
def test_each_action_in_each_phase(
    bakery: Bakery, name: str, kind: CallKind, times: int | None, record_property: Record
) -> None:
    code = "UnauthorizedOperation" if name == "not permitted" else ""
    with outcome(name, record_property) as went:
        go_through(bakery, went, kind, times, code=code)
