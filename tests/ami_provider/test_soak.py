"""Random lives of a stack: a few in every test run, `make soak` for hundreds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.ami_provider.clouds import Bakery
from tests.ami_provider.matrix import open_matrix
from tests.ami_provider.soak import Soak

FIRST = int(os.environ.get("BAKED_AMI_SOAK_FIRST", "1"))
MANY = int(os.environ.get("BAKED_AMI_SOAK", "4"))


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


@pytest.mark.parametrize("seed", range(FIRST, FIRST + MANY))
def test_after_any_life_state_and_aws_agree_and_nothing_is_left(
    bakery: Bakery, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Soak(bakery, seed, monkeypatch).run()
