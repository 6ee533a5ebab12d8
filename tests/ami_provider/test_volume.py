"""The sum behind "too small", and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from ami_provider.recipe import RootVolume
from ami_provider.resolved import ResolvedRecipe
from ami_provider.volume import GIB, find_parts, find_volume_faults, find_volume_note
from tests.ami_provider.samples import resolved


def recipe(size_gib: int, layers: tuple[int, ...] | None, model_gib: int = 0) -> ResolvedRecipe:
    start = resolved()
    image = start.images[0].model_copy(update={"layer_bytes": layers})
    model = start.models[0].model_copy(update={"size_bytes": model_gib * GIB})
    changes: dict[str, Any] = {
        "images": (image,),
        "models": (model,),
        "root_volume": RootVolume(size_gib=size_gib),
    }
    return start.model_copy(update=changes)


def test_the_old_templates_image_fits_its_30_gib() -> None:
    layers = (*[GIB] * 3, *[GIB // 2] * 10)
    assert find_volume_faults(recipe(30, layers, 2)) == []


def test_the_parts_of_the_sum() -> None:
    parts = find_parts(recipe(30, (GIB, 2 * GIB, 3 * GIB, 4 * GIB), 5))
    assert parts == {
        "base": 6.0,
        "images unpacked": 20.0,
        "layers in flight": 9.0,
        "models": 5.0,
        "free": 1.0,
    }


@pytest.mark.parametrize(("size", "fits"), [(40, False), (41, True)])
def test_the_sum_itself_is_enough(size: int, fits: bool) -> None:
    found = find_volume_faults(recipe(size, (GIB, 2 * GIB, 3 * GIB, 4 * GIB), 5))
    assert (found == []) is fits


def test_less_than_the_base_amis_own_volume_is_refused() -> None:
    (reason,) = find_volume_faults(recipe(20, None))
    assert "has a root volume of 30 GiB and EC2 cannot shrink it. Set at least 30." in reason


def test_unknown_sizes_refuse_nothing() -> None:
    assert find_volume_faults(recipe(30, None)) == []


@pytest.mark.parametrize(
    ("size", "layers", "told"),
    [
        (30, (GIB,), False),  # the base AMI's own size
        (60, (GIB, 2 * GIB, 4 * GIB), False),
        (500, (GIB, 2 * GIB, 4 * GIB), True),
        (500, None, False),  # nothing is known of the image
    ],
)
def test_a_volume_that_is_far_too_big_is_told(
    size: int, layers: tuple[int, ...] | None, told: bool
) -> None:
    single = recipe(size, layers)
    note = find_volume_note(single.model_copy(update={"images": single.images[:1]}))
    assert (note is not None) == told
    if note:
        assert "is 500 GiB, but about 30 GiB hold all" in note
        assert "50 GiB leave jobs 20 GiB" in note
