"""Unknown inputs: named by path, replaced so that the rest can be parsed."""

from __future__ import annotations

from typing import Any

import pytest

from ami_provider.asked import read_inputs
from ami_provider.unknowns import UNKNOWN, replace_unknown, touches
from tests.ami_provider.samples import inputs


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the data, but for the lineage, which the program always knows."""
    found = [path] if path and path[0] != "lineage" else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, item in items:
            found += places(item, (*path, key))
    return found


@pytest.mark.parametrize(
    "place",
    [p for p in places(inputs()) if len(p) > 1],
    ids=lambda place: ".".join(map(str, place)),
)
def test_any_one_input_may_be_unknown(place: tuple[Any, ...]) -> None:
    given = inputs()
    here: Any = given
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = UNKNOWN
    assert len(read_inputs(given).unknown) == 1


def test_two_models_with_unknown_places_do_not_clash() -> None:
    given = inputs()
    given["recipe"]["models"] = [{"source": UNKNOWN, "destination": UNKNOWN}] * 2
    assert read_inputs(given).unknown == {
        f"recipe.models[{i}].{field}" for i in range(2) for field in ("source", "destination")
    }


def test_a_tag_may_have_the_name_of_an_input() -> None:
    given = inputs() | {"tags": {"models": UNKNOWN, "copies": UNKNOWN, "team": "vision"}}
    asked = read_inputs(given)
    assert asked.unknown == {"tags.models", "tags.copies"}
    assert asked.site.tags == {"team": "vision"}


def test_known_data_stays_as_it_is() -> None:
    assert replace_unknown(inputs()) == (inputs(), frozenset())


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("recipe.images[0]", True),
        ("recipe.images[0].tag", True),
        ("recipe.images", True),
        ("recipe.images[1]", False),
        ("recipe.images[0].tags", False),
        ("recipe.image", False),
    ],
)
def test_a_path_is_touched_by_its_parts_and_by_what_holds_it(path: str, touched: bool) -> None:
    assert touches(frozenset({"recipe.images[0].tag"}), path) is touched
