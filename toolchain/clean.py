"""`make clean`: removes what was made in the checkout, save `.venv`; the user's cache stays."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from toolchain.environment import CHECKOUT
from toolchain.locks import is_locked
from toolchain.report import say

STATE = ".local-cloud"
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis")


def clean(checkout: Path = CHECKOUT) -> int:
    """Remove them all; 1, and nothing is removed, while a local cloud runs on the state folder."""
    if is_locked(checkout / STATE / "lock"):
        say(f"error: a local cloud is running on {STATE}. Nothing was removed.")
        say("  To do: wait for `make up` or `make down` to end, or end the `serve` that uses it.")
        return 1
    for path in _made_here(checkout):
        shutil.rmtree(path)
    return 0


def _made_here(checkout: Path) -> Iterator[Path]:
    yield from (path for name in (STATE, *CACHES) if (path := checkout / name).is_dir())
    for room in checkout.iterdir():
        if room.name == "__pycache__":
            yield room
        elif room.is_dir() and not room.is_symlink() and room.name not in {".venv", ".git"}:
            yield from list(room.rglob("__pycache__"))


if __name__ == "__main__":
    sys.exit(clean())
