"""How many AWS calls a bake, an adoption and a look without changes make: never more than now.

Counts do not depend on the machine's mood. A number here that has become too small is a decision:
raise it in the change that needs it, or find out what asks twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ami_provider.provider import BakedAmiProvider
from local_cloud.latency import read_profile
from tests.ami_provider.clouds import PROFILE, SUBNETS, Bakery, open_bakery
from tests.ami_provider.samples import inputs

BUILDER = {
    "DescribeImages": 6, "DescribeInstances": 4, "DescribeInstanceTypes": 1,
    "DescribeInstanceInformation": 1, "DescribeSnapshots": 1, "RunInstances": 1, "CreateImage": 1,
    "TerminateInstances": 1, "CreateTags": 3, "SendCommand": 5, "GetCommandInvocation": 5,
}  # fmt: skip
"""A bake without verification, every state reached at once; a SendCommand for each chain of steps,
and one that delivers them."""
VERIFIER = {
    "DescribeImages": 1, "DescribeInstances": 4, "DescribeInstanceTypes": 1,
    "DescribeInstanceInformation": 1, "RunInstances": 1, "TerminateInstances": 1,
    "SendCommand": 2, "GetCommandInvocation": 2,
}  # fmt: skip
"""What verification adds."""
ADOPTION = {
    "DescribeImages": 5, "DescribeInstances": 2, "DescribeSnapshots": 1, "CreateTags": 1,
}  # fmt: skip
NO_OP = {"ListObjectsV2": 1, "HeadObject": 3, "BatchGetImage": 1, "GetParameter": 1}
"""A preview that changes nothing: one look at each thing that may have changed; three models."""
WAITS = {"DescribeInstances": 9, "DescribeImages": 7}
"""What two changes of state add that take 5 s each."""


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


def count(bakery: Bakery, since: int) -> Counter[str]:
    return Counter(call["action"] for call in bakery.cloud.calls.read()[since:])


def calls_so_far(bakery: Bakery) -> int:
    return len(bakery.cloud.calls.read())


def assert_at_most(found: Counter[str], *allowed: dict[str, int]) -> None:
    limit: Counter[str] = Counter()
    for part in allowed:
        limit.update(part)
    assert not found - limit, f"more calls than allowed: {dict(found - limit)}; all: {dict(found)}"


def test_a_bake_its_verification_and_its_adoption(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    start = calls_so_far(bakery)
    bakery.bake(recipe)
    assert_at_most(count(bakery, start), BUILDER, VERIFIER)

    start = calls_so_far(bakery)
    assert bakery.bake(recipe, lineage=bakery.lineage("prod")).adopted
    assert_at_most(count(bakery, start), ADOPTION)


def test_waits_back_off(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    bakery.cloud.latency.use(read_profile("5s"))
    start = calls_so_far(bakery)
    bakery.bake(recipe, bakery.site(verify="off"))
    assert_at_most(count(bakery, start), BUILDER, WAITS)


def test_a_look_without_changes_changes_nothing(bakery: Bakery) -> None:
    provider, given = BakedAmiProvider(), asked()
    result = provider.check({}, given)
    assert not result.failures
    checked = result.inputs
    outs = provider.create(checked).outs or {}
    start = calls_so_far(bakery)

    again = provider.check(checked, given)
    change = provider.diff(str(outs["ami_id"]), outs, again.inputs)

    assert not change.changes
    made = bakery.cloud.calls.read()[start:]
    assert not [call["action"] for call in made if call["mutating"]]
    assert_at_most(Counter(call["action"] for call in made), NO_OP)


def asked() -> dict[str, Any]:
    given = inputs()
    models = {"source": "s3://local-ml-models/models/", "destination": "/opt/ml/models/"}
    given["recipe"]["models"] = [models]
    given["site"] |= {"subnet_ids": list(SUBNETS), "instance_profile": PROFILE, "verify": "off"}
    return given
