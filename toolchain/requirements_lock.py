"""Locks the Python requirements with hashes (`make lock`), and tells a lock that is out of date."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from toolchain.environment import CHECKOUT
from toolchain.errors import SetupError
from toolchain.process import run
from toolchain.report import say

LOCKS = (("requirements.in", "requirements.txt"), ("requirements-dev.in", "requirements-dev.txt"))
"""Source and lock, in the order they are made: the second is bound to the versions of the first."""

_COMPILE = (
    *("-m", "uv", "pip", "compile", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
    *("--custom-compile-command", "make lock"),
)
_MARK = "# made from: sha256 "


def lock(folder: Path = CHECKOUT) -> None:
    """Write every lock anew, keeping the versions already locked wherever they still fit.

    For Python 3.11 and newer on all systems. Names no index: where packages come from is a matter
    of the machine that installs them. Raises SetupError with uv's own words.
    """
    for source, target in LOCKS:
        bound = ["--constraint", LOCKS[0][1]] if target != LOCKS[0][1] else []
        run(
            [sys.executable, *_COMPILE, source, "--output-file", target, *bound],
            doing=f"Locking {source}",
            cwd=folder,
        )
        path = folder / target
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{_MARK}{_digest(folder, target)}\n{text}", encoding="utf-8")
        say(f"Locked {text.count('==')} packages in {target}.")


def find_faults(folder: Path = CHECKOUT) -> list[str]:
    """What is wrong with the locks, in words; needs no network. Empty when nothing is."""
    faults = []
    for source, target in LOCKS:
        path = folder / target
        if not path.exists():
            faults.append(f"{target} is missing")
            continue
        text = path.read_text(encoding="utf-8")
        if not text.startswith(f"{_MARK}{_digest(folder, target)}\n"):
            faults.append(f"{target} was not made from {source} as it is now")
        if "://" in text or "--find-links" in text:
            faults.append(f"{target} names a place that packages come from")
        faults += [
            f"{target} line {number}: {line.split()[0]} has no hash"
            for number, line in enumerate(text.splitlines(), start=1)
            if "==" in line and not line.endswith("\\")
        ]
    return faults


def _digest(folder: Path, target: str) -> str:
    """Of the sources that `target` depends on, up to and with its own; comments do not count."""
    digest = hashlib.sha256()
    for source, made in LOCKS:
        lines = (folder / source).read_text(encoding="utf-8").splitlines()
        digest.update("\n".join(line for line in lines if not line.startswith("#")).encode())
        if made == target:
            break
    return digest.hexdigest()


def main() -> int:
    """Lock; with `--check`, only say what is out of date (1 if anything is)."""
    try:
        if sys.argv[1:] != ["--check"]:
            lock()
            return 0
        faults = find_faults()
    except SetupError as error:
        say(f"error: {error}")
        return 1
    for fault in faults:
        say(f"error: {fault}")
    if faults:
        say("  To do: `make lock`, and commit what it writes.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
