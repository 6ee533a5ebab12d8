"""Volumes that are slow on first touch: maps of cold blocks, and the process that shows them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from local_cloud.machines import linux
from local_cloud.machines.anchor import HERE, Anchor
from local_cloud.machines.cold_server import BLOCK, COLD, HEAD, HOLE
from local_cloud.machines.contract import ColdReads, MachineError

MB, MIB = 10**6, 1024**2
_LONGEST_UNMOUNT_S = 10.0


class ColdDisks:
    """Beside a volume's file NAME lies NAME.cold while first reads of it are slow.

    The process that shows such volumes is started for the first one; without any there is none.
    """

    def __init__(self, volumes: Path, mount: Path, anchor: Anchor) -> None:
        """Both paths are inside the anchor's mount namespace."""
        self._volumes, self._mount, self._anchor = volumes, mount, anchor
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def chill(self, volume: Path, cold: ColdReads) -> None:
        """Make all that a new volume's file holds cold."""
        blocks = bytearray(-(-volume.stat().st_size // BLOCK))
        for extent in linux.extents(volume):
            first, last = extent.start // BLOCK, (extent.start + extent.length - 1) // BLOCK
            blocks[first : last + 1] = bytes([COLD]) * (last + 1 - first)
        said = {
            "created": time.time(),
            "bytes_per_s": cold.first_read_mb_per_s * MB,
            "initialization_bytes_per_s": cold.initialization_mib_s
            and cold.initialization_mib_s * MIB,
        }
        head = json.dumps(said).encode().ljust(HEAD, b"\0")
        volume.with_suffix(".cold").write_bytes(head + blocks)

    def find_path(self, volume: Path) -> Path | None:
        """The cold volume as a loop device has to read it; None for one that is not cold."""
        if not volume.with_suffix(".cold").exists():
            return None
        self._start()
        return self._anchor.path(self._mount / volume.name)

    def count(self, volume: Path) -> tuple[int, int]:
        """Bytes that came from the snapshot, and how many of them nobody has touched yet."""
        try:
            marks = volume.with_suffix(".cold").read_bytes()[HEAD:]
        except FileNotFoundError:
            return 0, 0
        return (len(marks) - marks.count(HOLE)) * BLOCK, marks.count(COLD) * BLOCK

    def forget(self, volume: Path) -> None:
        volume.with_suffix(".cold").unlink(missing_ok=True)

    def _start(self) -> None:
        with self._lock:
            if self._process is not None:
                return
            self._anchor.run("mkdir", "-p", str(self._mount))
            process = subprocess.Popen(
                ["nsenter", "--target", str(self._anchor.pid), "--mount", "--pid", "--",
                 sys.executable, "-I", str(HERE / "cold_server.py"), str(self._volumes),
                 str(self._mount)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, cwd="/", start_new_session=True,
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline().strip() != "ready":
                said = process.stderr.read().strip().splitlines()
                process.wait()
                raise MachineError(f"Cold volumes cannot be shown: {said[-1] if said else '?'}")
            self._process = process

    def close(self) -> None:
        """Unmount, which ends the process. The machines are off."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        deadline = time.monotonic() + _LONGEST_UNMOUNT_S
        while True:
            try:
                self._anchor.run("umount", str(self._mount))
                break
            except MachineError:  # a machine's loop device goes a little later than the machine
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LONGEST_UNMOUNT_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
