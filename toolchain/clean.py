"""`make clean`: removes what was made in the checkout, save `.venv`; the user's cache stays."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from toolchain.environment import CHECKOUT
from toolchain.report import say

STATE = ".local-cloud"
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis")


def find_mounts(folder: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Where something is mounted in or below `folder`; none where the system does not tell."""
    try:
        lines = mountinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in points if point.is_relative_to(folder)]


def clean(checkout: Path = CHECKOUT) -> int:
    """Remove them all; 1, and nothing is removed, while a disk of a machine is still mounted."""
    state = (checkout / STATE).resolve()
    mounts = find_mounts(state)
    if mounts:
        say(f"error: {STATE} is in use: {mounts[0]} is mounted. Nothing was removed.")
        say("  To do: end the local cloud that uses it (`make down`, or Ctrl-C where it serves).")
        return 1
    for path in _made_here(checkout):
        shutil.rmtree(path)
    return 0


def _made_here(checkout: Path) -> Iterator[Path]:
    yield from (path for name in (STATE, *CACHES) if (path := checkout / name).is_dir())
    for room in checkout.iterdir():
        if room.name == "__pycache__":
            yield room
        elif room.is_dir() and not room.is_symlink() and room.name not in {".venv", ".git", STATE}:
            yield from list(room.rglob("__pycache__"))


if __name__ == "__main__":
    sys.exit(clean())
