"""The disk of the local cloud's base AMIs, made ahead of time where machines can be real."""

from __future__ import annotations

import subprocess
from pathlib import Path

from toolchain.environment import CHECKOUT, VENV
from toolchain.report import say

_WANTED = (
    "import sys; from local_cloud.machines.host import why_not_real as why; sys.exit(bool(why()))"
)


def ensure_base_disk(*, venv: Path = VENV, checkout: Path = CHECKOUT) -> None:
    """Have the local cloud make it now, seen by who waits, and not inside the first launch or test.

    Silent when it is there, and where machines are only recorded. Never fails: the local cloud
    tries again when it needs the disk, and says then what is wrong.
    """
    python = str(venv / "bin" / "python")
    if subprocess.run([python, "-c", _WANTED], cwd=checkout, check=False).returncode != 0:
        return
    made = subprocess.run(
        [python, "-m", "local_cloud.machines.base_disk"], cwd=checkout, check=False
    )
    if made.returncode != 0:
        say("Going on without that disk; the local cloud tries again when it starts a machine.")
