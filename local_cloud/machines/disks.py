"""Volumes and snapshots: one ext4 image file each, on one XFS file system of the cloud that shares
their blocks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from local_cloud.machines import linux
from local_cloud.machines.anchor import HERE, Anchor
from local_cloud.machines.cold_disks import ColdDisks
from local_cloud.machines.contract import GIB, ColdReads, DiskUsage, MachineError

#: Of the host's free space, how much the disks of one cloud may grow to.
_SHARE_OF_FREE_SPACE = 0.9
_SMALLEST_BYTES = 16 * GIB
_LONGEST_UNMOUNT_S = 10.0


class RealDisks:
    """The disks of one cloud, in the file `disks.xfs` of its folder, where they outlive it."""

    def __init__(self, root: Path, *, anchor: Anchor, base_image: Callable[[], Path]) -> None:
        """Mount the file inside the anchor's namespace, making it first where there is none.

        `base_image` gives the file with the disk that all base AMIs begin with.
        """
        self._anchor = anchor
        self._base_image = base_image
        self._closed = False
        self._lock = threading.Lock()
        #: Set by the machines: the folder of a volume's file system where it is mounted, else None.
        self.find_mounted: Callable[[str], tuple[Path, int] | None] = lambda _volume_id: None
        pool, mount = root / "disks.xfs", root / "disks"
        if not pool.exists():
            _make_pool(pool)
        mount.mkdir(exist_ok=True)
        anchor.run("mount", "-t", "xfs", "-o", "loop,noatime", str(pool), str(mount))
        self._inside = mount
        self._folder = anchor.path(mount)
        for name in ("volumes", "snapshots", "base"):
            (self._folder / name).mkdir(exist_ok=True)
        self._cold = ColdDisks(mount / "volumes", root / "cold", anchor)

    def volume_path(self, volume_id: str) -> Path:
        return self._folder / "volumes" / volume_id

    def _snapshot_path(self, snapshot_id: str) -> Path:
        return self._folder / "snapshots" / snapshot_id

    def create_volume(
        self, volume_id: str, *, size_gib: int, snapshot_id: str | None = None,
        cold: ColdReads | None = None,
    ) -> None:  # fmt: skip
        target = self.volume_path(volume_id)
        if snapshot_id is None:
            with target.open("xb") as file:
                file.truncate(size_gib * GIB)
            return
        source = self._snapshot_path(snapshot_id)
        if not source.exists():
            raise KeyError(snapshot_id)
        if source.stat().st_size > size_gib * GIB:
            raise ValueError(
                f"a volume of {size_gib} GiB is smaller than {snapshot_id} of "
                f"{source.stat().st_size / GIB:.0f} GiB; ask for that much at least"
            )
        linux.clone_file(source, target)
        os.truncate(target, size_gib * GIB)
        if cold is not None:
            self._cold.chill(target, cold)

    def grow_volume(self, volume_id: str, *, size_gib: int) -> None:
        """Make the block device longer. Its file system grows at the machine's next boot."""
        path = self.volume_path(volume_id)
        if path.stat().st_size > size_gib * GIB:
            raise ValueError(f"{volume_id} is larger than {size_gib} GiB; a volume only grows")
        os.truncate(path, size_gib * GIB)
        if mounted := self.find_mounted(volume_id):
            linux.tell_loop_its_file_grew(mounted[1])

    def delete_volume(self, volume_id: str) -> None:
        self._delete(self.volume_path(volume_id))
        self._cold.forget(self.volume_path(volume_id))

    def device_path(self, volume_id: str) -> Path:
        """What a loop device has to read for a machine: the volume's file, or its cold face."""
        path = self.volume_path(volume_id)
        return self._cold.find_path(path) or path

    def cold_bytes(self, volume_id: str) -> tuple[int, int]:
        return self._cold.count(self.volume_path(volume_id))

    def create_snapshot(self, snapshot_id: str, *, volume_id: str) -> None:
        source, target = self.volume_path(volume_id), self._snapshot_path(snapshot_id)
        if not source.exists():
            raise KeyError(volume_id)
        mounted = self.find_mounted(volume_id)
        if mounted:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), ExitStack() as held:
                held.enter_context(linux.frozen(mounted[0]))
                linux.clone_file(source, target)
        if not target.exists():  # not mounted, or not any more
            linux.clone_file(source, target)

    def copy_snapshot(self, source_id: str, target_id: str) -> None:
        linux.clone_file(self._snapshot_path(source_id), self._snapshot_path(target_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._delete(self._snapshot_path(snapshot_id))

    def add_base_snapshot(self, snapshot_id: str, *, family: str) -> None:
        """Nothing happens when it is there already, as in a cloud that is started again."""
        if self._snapshot_path(snapshot_id).exists():
            return
        made = self._folder / "base" / family
        with self._lock:
            if not made.exists():
                self._make_family(made, family)
        linux.clone_file(made, self._snapshot_path(snapshot_id))

    def _make_family(self, made: Path, family: str) -> None:
        common = self._folder / "base" / self._base_image().name
        if not common.exists():
            partial = common.with_suffix(".partial")
            _copy_sparse(self._base_image(), partial)
            partial.rename(common)
        partial = made.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        linux.clone_file(common, partial)
        script = str(HERE / "base" / "family.sh")
        self._anchor.run("bash", script, str(self._inside / "base" / partial.name), family)
        partial.rename(made)

    def usage(self, disk_id: str) -> DiskUsage:
        for path in (self.volume_path(disk_id), self._snapshot_path(disk_id)):
            if path.exists():
                found = list(linux.extents(path))
                return DiskUsage(
                    size_bytes=path.stat().st_size,
                    allocated_bytes=sum(extent.length for extent in found),
                    unique_bytes=sum(extent.length for extent in found if not extent.shared),
                )
        raise KeyError(disk_id)

    def _delete(self, path: Path) -> None:
        """Remove the file and give its blocks back to the host's file system."""
        if not path.exists():
            return
        os.truncate(path, 0)  # frees its blocks now; unlink alone leaves that to a later moment
        path.unlink()
        linux.trim(self._folder)

    def close(self) -> None:
        """Write all to the file and unmount it. The machines are off. It may be repeated."""
        if self._closed:
            return
        self._closed = True
        self._cold.close()
        deadline = time.monotonic() + _LONGEST_UNMOUNT_S
        while True:
            try:
                self._anchor.run("umount", str(self._inside))
            except MachineError:  # the kernel lets go of the machines' loop devices a little later
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _make_pool(pool: Path) -> None:
    size = max(_SMALLEST_BYTES, int(shutil.disk_usage(pool.parent).free * _SHARE_OF_FREE_SPACE))
    partial = pool.with_suffix(".partial")
    with partial.open("wb") as file:
        file.truncate(size)
    made = subprocess.run(
        ["mkfs.xfs", "-f", "-q", "-m", "reflink=1", "-l", "size=64m", str(partial)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        partial.unlink()
        raise MachineError(f"The file system for disks could not be made: {made.stderr.strip()}")
    partial.rename(pool)


def _copy_sparse(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--", str(source), str(target)], check=True)
