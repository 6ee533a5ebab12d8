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
        ({"lineage": {"urn": "urn:moved"}}, (), True),
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
    assert bool(change.lines) == (bool(replaces) or updates)


PUBLISHED = {
    "share_with": ["111111111111", "222222222222"],
    "copies": [{"region": "us-west-2"}, {"region": "us-east-1", "encryption_key": "alias/a"}],
    "deprecate_after_days": 30.0,
}
IN_PLACE: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"tags": {"team": "vision", "a": "1"}}, {"tags": {"team": "audio", "b": "2"}},
     ["tag a: 1 -> none", "tag b: none -> 2", "tag team: vision -> audio"]),
    ({}, {"publication": PUBLISHED},
     ["shared with: 111111111111, 222222222222", "copy in us-east-1: made",
      "copy in us-west-2: made", "deprecated, days after its creation: none -> 30"]),
    ({"publication": PUBLISHED}, {"publication": PUBLISHED | {
        "share_with": ["222222222222", "333333333333"], "share_snapshots": True,
        "copies": [{"region": "us-east-1", "encryption_key": "alias/b"}],
        "deprecate_after_days": None, "deprecate_at": "2030-01-01",
        "deregistration_protection": True}},
     ["shared with: 333333333333", "no longer shared with: 111111111111",
      "its snapshots: also shared", "copy in us-east-1: made anew, with the key alias/a -> alias/b",
      "copy in us-west-2: deleted, with its snapshots",
      "deprecated, days after its creation: 30 -> none", "deprecated from: none -> 2030-01-01",
      "protected against deregistration: none -> yes"]),
    ({}, {"publication": {"share_with": []}}, ["shared with: nobody"]),
    ({}, {"publication": {"copies": [{"region": UNKNOWN}], "share_with": UNKNOWN}},
     ["shared with: not known yet", "copy in a region that is not known yet: made"]),
    ({}, {"publication": UNKNOWN, "tags": UNKNOWN, "trusted_owners": UNKNOWN},
     ["tags: not known yet", "publication: not known yet", "trusted account: not known yet"]),
    ({"keep": 2.0}, {"keep": 1},
     ["earlier AMIs that stay: 2 -> 1; those beyond are deleted, unless they are in use"]),
    ({}, {"keep": 1}, ["earlier AMIs that stay: 0 -> 1"]),
    ({"trusted_owners": ["111111111111"]}, {"trusted_owners": ["222222222222"]},
     ["trusted account: 222222222222", "no longer trusted account: 111111111111"]),
    ({}, {"images": [OLD["images"][0] | {"tag": "v1"}]},
     ["image batch-processor: tag latest -> v1, the same image"]),
    ({}, {"site": OLD["site"] | {"smoke_command": "login --token hush"}},
     ["site.smoke_command: another command, from the next bake on"]),
    ({}, {"site": OLD["site"] | {"debug": True, "timeouts": {"pull": 5.0}}},
     ["site.debug: none -> yes, from the next bake on",
      "site.timeouts: none -> pull 5, from the next bake on"]),
    ({"secret_inputs": [["tags", "a"]], "tags": {"a": "1", "b": "2"}, "keep": 1},
     {"secret_inputs": [["tags"], ["keep"]], "tags": {"a": "3", "b": "2"}, "keep": 2},
     ["keep: [secret] -> [secret]", "tags: [secret] -> [secret]", "kept secret: tags, keep",
      "no longer kept secret: tags.a"]),
    ({}, {"secret_inputs": [["publication", "share_with", "0"]], "publication": PUBLISHED},
     ["publication: [secret] -> [secret]", "kept secret: publication.share_with.0"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "lines"), IN_PLACE, ids=[str(row[2])[:60] for row in IN_PLACE]
)
def test_what_is_changed_in_place_is_told(
    old: dict[str, Any], new: dict[str, Any], lines: list[str]
) -> None:
    change = compare(OLD | old, OLD | new)
    assert (change.changes, change.replaces) == (True, ())
    assert change.lines == ("the AMI stays; changed in place:", *(f"  {line}" for line in lines))


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


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["recipe"], "its recipe, which is secret"),
        (["recipe", "models", "0", "source"], "models: [secret] -> [secret]"),
        (["recipe", "models"], "models: [secret] -> [secret]"),
        (["recipe", "agent", "extra", "ECS_A"], "model a: added (sha256 1)"),
    ],
    ids=lambda value: str(value),
)
def test_a_replacement_does_not_say_what_is_secret(path: list[str], line: str) -> None:
    models = [{"destination": "/opt/a", "sha256": "1"}]
    changed = {"fingerprint": "g", "manifest": {"models": models}, "secret_inputs": [path]}
    told = compare(OLD, OLD | changed).lines
    assert told == ("the AMI is replaced, because its content changes:", f"  {line}")
