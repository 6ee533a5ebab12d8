"""The answers of every AWS action of a bake, in every phase, come too late, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ami_provider import aws as aws_module
from local_cloud.faults.kinds import CallKind
from tests.ami_provider.clouds import Bakery
from tests.ami_provider.fault_matrix import go_through
from tests.ami_provider.matrix import open_matrix, outcome

PATIENCE_S = 1.0
"""How long the bake's client waits for an answer here."""

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("no answer in time", "timeout"),
        ("an answer too late", "late"),
    ],
)
def test_each_action_in_each_phase(
    bakery: Bakery,
    name: str,
    kind: CallKind,
    record_property: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _ = bakery.aws.ec2, bakery.aws.ssm  # With their own time-out.
    monkeypatch.setattr(aws_module, "READ_TIMEOUT_S", PATIENCE_S)
    with outcome(name, record_property) as went:
        go_through(bakery, went, kind, 1, seconds=PATIENCE_S + 0.3)
