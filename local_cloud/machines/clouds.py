"""The list of local clouds with real machines on this host, so that what a dead one left is found
and removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local_cloud.machines import linux
from local_cloud.machines.cgroups import Group

#: One file a cloud. It is gone after a reboot of the host, and so is everything that it speaks of
#: but files.
RECORDS = Path("/run/baked-ami-local-cloud")
_GROUPS = "baked-ami-local-cloud"


@dataclass(frozen=True, kw_only=True)
class CloudRecord:
    """A cloud: its process and its anchor, each with its start time, as numbers are used again."""

    cloud_id: str
    pid: int
    pid_started: int
    anchor_pid: int
    anchor_started: int
    root: str
    #: Whether `root` is to be removed with the cloud.
    temporary: bool

    @property
    def group(self) -> Group:
        return Group(f"{_GROUPS}/{self.cloud_id}")


def new_cloud_id() -> str:
    return secrets.token_hex(4)


def record(cloud: CloudRecord) -> None:
    """Write it down, whole or not at all."""
    path = RECORDS / f"{cloud.cloud_id}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(cloud)))
    partial.rename(path)


def forget(cloud: CloudRecord) -> None:
    """Remove its control groups and the record; its processes have ended."""
    cloud.group.delete()
    for folder in Group(_GROUPS).folders:
        with contextlib.suppress(OSError):  # another cloud has its groups there
            folder.rmdir()
    (RECORDS / f"{cloud.cloud_id}.json").unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[None]:
    """One process at a time may start a cloud or clean up after one."""
    RECORDS.mkdir(mode=0o700, exist_ok=True)
    with (RECORDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_live(root: Path) -> CloudRecord | None:
    """The cloud that runs on this folder now."""
    return next((one for one in _records() if one.root == str(root) and _is_alive(one)), None)


def remove_dead() -> list[CloudRecord]:
    """Remove what clouds whose process is gone left; gives those clouds. Call it `locked`."""
    dead = [one for one in _records() if not _is_alive(one)]
    for one in dead:
        _end(one.anchor_pid, one.anchor_started)
        if one.temporary:
            shutil.rmtree(one.root, ignore_errors=True)
        forget(one)
    return dead


def _is_alive(cloud: CloudRecord) -> bool:
    return linux.start_time(cloud.pid) == cloud.pid_started


def _end(pid: int, started: int) -> None:
    """Kill PID 1 of the cloud's namespace and, by the kernel, all in it; wait for that.

    Nothing is done to a process that only has the same number.
    """
    if linux.start_time(pid) != started:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while linux.start_time(pid) == started:
        time.sleep(0.02)


def _records() -> list[CloudRecord]:
    found = []
    for path in sorted(RECORDS.glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            found.append(CloudRecord(**json.loads(path.read_text())))
    return found
