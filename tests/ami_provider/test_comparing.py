"""Nothing, an update in place, or another AMI: what the engine and the reader are told."""

from __future__ import annotations

from typing import Any

import pytest

from ami_provider.comparing import MAX_LINES, compare
from ami_provider.unknowns import UNKNOWN
from tests.ami_provider.samples import REPOSITORY, inputs

OLD: dict[str, Any] = inputs() | {
    "ami_id": "ami-1",
    "fingerprint": "f",
    "images": [{"repository": REPOSITORY, "tag": "latest", "digest": "d", "uri": "u"}],
    "manifest": {"models": []},
    "region": "ap-northeast-2",
    "state": "available",
    "__provider": "one",
}


@pytest.mark.parametrize(
    ("changed", "replaces", "updates"),
    [
        ({}, (), False),
        ({"__provider": "another version of the code"}, (), False),
        ({"recipe": {"images": []}}, (), False),
        ({"resolved": {"any": "thing"}}, (), False),
        ({"lineage": {"urn": "urn:moved"}}, (), False),
        ({"site": OLD["site"] | {"debug": True}}, (), True),
        ({"tags": {"team": "vision"}}, (), True),
        ({"images": [OLD["images"][0] | {"tag": "v1"}]}, (), True),
        ({"fingerprint": "g"}, ("fingerprint",), True),
        ({"fingerprint": UNKNOWN}, ("fingerprint",), True),
        ({"region": "eu-west-1"}, ("region",), True),
        ({"region": UNKNOWN}, ("fingerprint",), True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_content_and_region_replace(
    changed: dict[str, Any], replaces: tuple[str, ...], updates: bool
) -> None:
    change = compare(OLD, OLD | changed)
    assert (change.replaces, change.changes) == (replaces, updates)
    assert bool(change.lines) == bool(replaces)


def test_numbers_as_the_state_spells_them_are_no_change() -> None:
    new = OLD | {"site": OLD["site"] | {"timeouts": {"pull": 5}}}
    old = OLD | {"site": OLD["site"] | {"timeouts": {"pull": 5.0}}}
    assert compare(old, new).changes is False


def test_a_change_of_the_rule_alone_is_told() -> None:
    told = compare(OLD, OLD | {"fingerprint": "g"}).lines
    assert told[1] == "  the rule by which fingerprints are taken"


def test_a_long_list_of_changes_is_cut() -> None:
    models = [{"destination": f"/opt/{i:04}", "sha256": "1"} for i in range(1000)]
    new = OLD | {"fingerprint": "g", "manifest": {"models": models}}
    told = compare(OLD, new).lines
    assert len(told) == MAX_LINES + 1
    assert told[1] == "  model 0000: added (sha256 1)"
    assert told[-1] == f"  and {1000 - MAX_LINES + 1} more"
