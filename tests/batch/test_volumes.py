"""The rate at which root volumes are loaded, shared among the machines that may start at once."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from batch.volumes import REGION_RATE, initialization_rate, rate_warning, vcpus_of


@pytest.mark.parametrize(
    ("instance_type", "vcpus"),
    [
        ("g5.xlarge", 4),
        ("g5.2xlarge", 8),
        ("g4dn.12xlarge", 48),
        ("p4d.24xlarge", 96),
        ("p5.48xlarge", 192),
        ("m5.large", 2),
        ("g4dn.metal", 4),
    ],
)
def test_vcpus_follow_from_the_size(instance_type: str, vcpus: int) -> None:
    assert vcpus_of(instance_type) == vcpus


@pytest.mark.parametrize(
    ("max_vcpus", "rate"),
    [(4, 300), (64, 300), (68, 294), (128, 156), (200, 100), (204, None), (10_000, None)],
)
def test_auto_shares_the_regions_rate(max_vcpus: int, rate: int | None) -> None:
    found = initialization_rate(
        "auto", instance_types=["g5.2xlarge", "g5.xlarge"], max_vcpus=max_vcpus
    )
    assert found == rate
    if rate is not None:
        assert rate * (max_vcpus // 4) <= REGION_RATE


def test_a_given_rate_is_taken_as_it_is_and_off_is_off() -> None:
    types = ["g5.xlarge"]
    assert initialization_rate(120, instance_types=types, max_vcpus=10_000) == 120
    assert initialization_rate("off", instance_types=types, max_vcpus=4) is None


def test_fewer_vcpus_than_one_machine_has_still_means_one_machine() -> None:
    assert initialization_rate("auto", instance_types=["p4d.24xlarge"], max_vcpus=1) == 300


@pytest.mark.parametrize(
    ("wanted", "max_vcpus", "told"),
    [
        ("auto", 200, None),
        ("auto", 204, "51 machines at once"),
        ("off", 10_000, None),
        (300, 64, None),
        (300, 68, "17 machines at once at 300 MiB/s .* 294 MiB/s is safer"),
    ],
)
def test_a_rate_that_cannot_hold_is_warned_of(
    wanted: int | Literal["auto", "off"], max_vcpus: int, told: str | None
) -> None:
    found = rate_warning(wanted, instance_types=["g5.xlarge"], max_vcpus=max_vcpus)
    assert found is None if told is None else re.search(told, found or "")
