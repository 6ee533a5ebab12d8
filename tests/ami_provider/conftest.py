"""What several modules of this room start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ami_provider.account import Account, open_account


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account of the test's own, in this process."""
    with open_account(monkeypatch) as opened:
        yield opened
