"""Checks the GitHub workflows with actionlint, which is built into the user's cache, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from toolchain.build_cache import ensure_built, get_place
from toolchain.environment import CHECKOUT, VENV
from toolchain.errors import SetupError
from toolchain.go_build import GoProgram, build, check_go
from toolchain.report import say
from toolchain.stamp import find_fault

VERSION = "1.7.12"
"""go.mod of `actionlint/` pins the same."""

ACTIONLINT = GoProgram(
    name="actionlint",
    folder=Path(__file__).resolve().parent / "actionlint",
    package="github.com/rhysd/actionlint/cmd/actionlint",
    otherwise="install Go 1.26 or newer (https://go.dev/doc/install), with which it is built, "
    "once, in some seconds, or install actionlint itself",
)


def ensure_actionlint() -> Path:
    """The executable in the cache, built first when it is not there; without Go, one on PATH.

    Raises SetupError when there is neither.
    """
    folder = get_place("actionlint", VERSION, (ACTIONLINT,))
    if find_fault(folder) is not None:
        installed = shutil.which("actionlint")
        if installed is not None and shutil.which("go") is None:
            return Path(installed)
        check_go(ACTIONLINT)
        ensure_built(folder, "actionlint", lambda work: build(ACTIONLINT, work / "actionlint"))
    return folder / "actionlint"


def main() -> int:
    """Check all workflows, or the files that are named; actionlint's own exit status."""
    try:
        executable = ensure_actionlint()
    except SetupError as error:
        say(f"error: {error}")
        return 2
    shellcheck = VENV / "bin" / "shellcheck"
    return subprocess.run(
        [str(executable), "-color", "-shellcheck", str(shellcheck), "-pyflakes=", *sys.argv[1:]],
        cwd=CHECKOUT,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
