"""A stack's life, lived once for all tests of the policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program.conftest import cloud as cloud  # the fixtures, by their names
from tests.program.conftest import stack as stack


@pytest.fixture(scope="module")
def details(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("details") / "calls.jsonl"


@pytest.fixture(scope="module")
def cloud_options(details: Path) -> tuple[str, ...]:
    """Who asks for what is looked at; the machines may be recorded."""
    return ("--recorded", "--call-details", str(details))
