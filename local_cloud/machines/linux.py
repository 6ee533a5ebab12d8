"""Calls to the Linux kernel that Python's standard library does not have."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Request numbers: linux/fs.h, linux/fiemap.h, linux/loop.h (the same on x86-64 and arm64).
_FICLONE = 0x40049409
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878
_FITRIM = 0xC0185879
_FS_IOC_FIEMAP = 0xC020660B
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_SET_CAPACITY = 0x4C07
_LO_FLAGS_AUTOCLEAR = 4
_CLONE_NEWNET = 0x40000000
_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_FIEMAP_FLAG_SYNC = 1
_FIEMAP_EXTENT_LAST = 0x1
_FIEMAP_EXTENT_SHARED = 0x2000
_EXTENTS_A_CALL = 512

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Extent:
    """A run of bytes of a file with blocks on the disk. `shared`: another file has them too."""

    start: int
    length: int
    shared: bool


def in_network_of(pid: int, work: Callable[[], T]) -> T:
    """Run `work` inside the network namespace of the process; sockets it makes stay there.

    A namespace is entered by a single thread, so `work` runs in a thread of its own.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
                if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number), "setns")
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=enter, name="network-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def clone_file(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` that shares its blocks until one of them is written
    (reflink).
    """
    with source.open("rb") as reading, target.open("xb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
        except OSError:
            target.unlink()
            raise


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Hold the file system that `folder` is on: everything written is on disk and nothing is
    added.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, _FITHAW, 0)
    finally:
        os.close(descriptor)


def open_inside(root: Path, path: str, flags: int) -> int:
    """Open a path as a process would whose root is the folder: links in it never lead outside.

    Gives a file descriptor. Made files are for their owner only.
    """
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        mode = 0o600 if flags & os.O_CREAT else 0
        how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT)
        opened = int(
            _libc.syscall(_SYS_OPENAT2, descriptor, path.lstrip("/").encode(), how, len(how))
        )
        if opened < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return opened
    finally:
        os.close(descriptor)


def trim(folder: Path) -> None:
    """Give the free blocks of the file system that `folder` is on back to what is under it.

    The kernel does it in the background: they may be there a moment later.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _FITRIM, struct.pack("QQQ", 0, 2**64 - 1, 0))
    finally:
        os.close(descriptor)


def extents(path: Path) -> Iterator[Extent]:
    """The runs of blocks of a file, in order; holes are left out."""
    header = struct.Struct("=QQIIII")
    entry = struct.Struct("=QQQQQIIII")
    position = 0
    with path.open("rb") as file:
        while True:
            request = bytearray(header.size + _EXTENTS_A_CALL * entry.size)
            header.pack_into(
                request, 0, position, 2**64 - 1 - position, _FIEMAP_FLAG_SYNC, 0, _EXTENTS_A_CALL, 0
            )
            fcntl.ioctl(file.fileno(), _FS_IOC_FIEMAP, request)
            mapped = header.unpack_from(request)[3]
            if mapped == 0:
                return
            for index in range(mapped):
                fields = entry.unpack_from(request, header.size + index * entry.size)
                start, length, flags = fields[0], fields[2], fields[5]
                yield Extent(start, length, bool(flags & _FIEMAP_EXTENT_SHARED))
                if flags & _FIEMAP_EXTENT_LAST:
                    return
            position = start + length


class LoopDevice:
    """A file as a block device. The kernel lets go of it with its last user (autoclear).

    Until something has mounted it this object is that user: `close()` it after the mount.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as backing:
            while True:
                with Path("/dev/loop-control").open("r+b", buffering=0) as control:
                    number = fcntl.ioctl(control.fileno(), _LOOP_CTL_GET_FREE)
                self._descriptor = _open_loop(number)
                # struct loop_config: fd, block_size, loop_info64 (flags at byte 52), 8 reserved
                # words
                info = bytearray(232)
                struct.pack_into("=I", info, 52, _LO_FLAGS_AUTOCLEAR)
                config = struct.pack("=II", backing.fileno(), 0) + bytes(info) + bytes(64)
                try:
                    fcntl.ioctl(self._descriptor, _LOOP_CONFIGURE, config)
                    break
                except OSError as failure:
                    os.close(self._descriptor)
                    if failure.errno != errno.EBUSY:  # taken by another process meanwhile
                        raise
        self.number = number
        found = path.stat()
        self._file = (found.st_dev, found.st_ino)

    def is_in_use(self) -> bool:
        """Whether the file is still behind the device: after an unmount, a little longer."""
        try:
            descriptor = os.open(f"/dev/loop{self.number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            info = bytearray(232)
            fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, info)
            return struct.unpack_from("=QQ", info) == self._file
        except OSError as failure:
            if failure.errno == errno.ENXIO:
                return False
            raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go; nothing happens when it was let go before."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_loop(number: int) -> int:
    node = Path(f"/dev/loop{number}")
    if not node.exists():  # a /dev that the kernel does not fill by itself
        os.mknod(node, 0o060660, os.makedev(7, number))
    return os.open(node, os.O_RDWR | os.O_CLOEXEC)


def tell_loop_its_file_grew(number: int) -> None:
    """Make /dev/loopN as long as its file is now."""
    descriptor = _open_loop(number)
    try:
        fcntl.ioctl(descriptor, _LOOP_SET_CAPACITY, 0)
    finally:
        os.close(descriptor)


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process for
    good.

    None when there is no such process, or only its zombie.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether the process stands still after a stop signal: see proc(5), state T."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes that the process's main thread started and that are still there."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
