"""Temporary folders of clouds: made, removed safely, cleared away when a cloud was killed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from local_cloud.state import StateFolder

#: A cloud locks its folder at once; one that has not done so by then never will.
STARTS_WITHIN_S = 60.0
PREFIX = "local-cloud-"


def make_temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def remove_folder(path: Path) -> bool:
    """Remove the folder, unless something is still mounted below it; whether it is gone."""
    if mounts_below(path):
        return False
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def mounts_below(path: Path) -> list[str]:
    """What this process sees mounted in the folder: removing it would reach into that."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return []
    inside = str(path.resolve()).rstrip("/") + "/"
    points = (line.split()[4] for line in mounts.read_text(encoding="utf-8").splitlines())
    return [point for point in points if (point + "/").startswith(inside)]


def remove_abandoned_folders() -> list[Path]:
    """Remove the temporary folders of clouds that were killed; those that are gone now.

    A cloud that lives holds the lock in its folder. A folder without a lock may just be starting,
    unless it has been empty for a minute.
    """
    gone = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        folder = StateFolder(path)
        with contextlib.suppress(OSError):
            if not any(path.iterdir()) and time.time() - path.stat().st_mtime > STARTS_WITHIN_S:
                path.rmdir()
            if folder.read_owner() is not None and not folder.is_owned() and remove_folder(path):
                gone.append(path)
    return gone
