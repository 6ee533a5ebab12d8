"""A process that shows volumes through FUSE whose blocks are slow on first touch. It is run by its
path, with the folder of volumes and the mount point; says `ready`, and ends when it is unmounted.

It speaks the kernel's protocol itself (linux/fuse.h, 7.31): the few calls that a loop device makes.
"""

from __future__ import annotations

import ctypes
import errno
import heapq
import itertools
import json
import mmap
import os
import stat
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path

#: EBS fetches volumes from snapshots in blocks of this size (EBS direct APIs: 512 KiB).
BLOCK = 512 * 1024
#: A volume's `.cold` file: this many bytes of JSON, then one byte for each block.
HEAD = 4096
HOLE, COLD, WARM = 0, 1, 2

_BIGGEST = 1024 * 1024
_LATE_S = 0.1
_READ_AHEAD = 128 * 1024
_ROOT = 1
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1, 1 << 5, 1 << 22
_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=6Q10I")
_NO_ANSWER = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
_libc = ctypes.CDLL(None, use_errno=True)


class Volume:
    """One volume's file, and which of its blocks are cold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR)
        with path.with_suffix(".cold").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        said = json.loads(self._map[:HEAD].rstrip(b"\0"))
        self._created = float(said["created"])
        self._rate = float(said["bytes_per_s"])
        self._initialized = said["initialization_bytes_per_s"]
        marks = self._map[HEAD:]
        #: How many blocks a background initialization has done before it comes to this one.
        self._rank = array("I", itertools.accumulate((mark != HOLE for mark in marks), initial=0))
        self._lock = threading.Lock()
        self._free_at = 0.0

    def touch(self, offset: int, size: int, *, write: bool = False) -> float:
        """Make what is touched warm: how many seconds its fetching takes from now."""
        first, last = offset // BLOCK, (offset + size - 1) // BLOCK
        blocks = range(first, min(last + 1, len(self._map) - HEAD))
        with self._lock:
            cold = [one for one in blocks if self._map[HEAD + one] == COLD]
            if not cold:
                return 0.0
            fetched = 0
            for one in cold:
                self._map[HEAD + one] = WARM
                whole = offset <= one * BLOCK and (one + 1) * BLOCK <= offset + size
                if not (write and whole) and not self._is_initialized(one):
                    fetched += 1
            now = time.monotonic()
            # A reader that comes back a little late has not been idle: see machines/pacing.py.
            begin = self._free_at if now - self._free_at < _LATE_S else now
            if fetched:
                self._free_at = begin + fetched * BLOCK / self._rate
            return max(0.0, self._free_at - now) if fetched else 0.0

    def _is_initialized(self, block: int) -> bool:
        if self._initialized is None:
            return False
        done = float(self._initialized) * (time.time() - self._created)
        return self._rank[block + 1] * BLOCK <= done

    def close(self) -> None:
        os.close(self.file)
        self._map.close()


class Later:
    """Runs things when they are due, in a thread of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._number = itertools.count()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, seconds: float, work: Callable[[], None]) -> None:
        with self._changed:
            entry = (time.monotonic() + seconds, next(self._number), work)
            heapq.heappush(self._due, entry)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    left = self._due[0][0] - time.monotonic() if self._due else None
                    self._changed.wait(left)
                work = heapq.heappop(self._due)[2]
            work()


class Server:
    """Answers the kernel's requests."""

    def __init__(self, folder: Path, device: int) -> None:
        self._folder, self._device = folder, device
        self._lock = threading.Lock()
        self._nodes: dict[int, Path] = {}
        self._numbers: dict[str, int] = {}
        self._open: dict[int, tuple[Volume, int]] = {}
        self._later = Later()
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 14: self._open_file,
            17: lambda *_: bytes(80), 18: self._release, 20: self._fsync, 25: lambda *_: b"",
            26: self._init, 27: lambda *_: bytes(16), 28: lambda *_: b"", 29: lambda *_: b"",
            34: lambda *_: b"", 38: lambda *_: b"", 43: self._fallocate,
        }  # fmt: skip

    def serve(self) -> None:
        """Until unmounted. Several threads may do this."""
        buffer = bytearray(_BIGGEST + 4096)
        view = memoryview(buffer)
        while True:
            try:
                size = os.readv(self._device, [buffer])
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _, code, unique, node, *_ = _IN.unpack_from(buffer)
            self._handle(code, unique, node, view[_IN.size : size])

    def _handle(self, code: int, unique: int, node: int, body: memoryview) -> None:
        if code in _NO_ANSWER:
            return
        try:
            if code == 15:
                self._read(unique, node, body)
            elif code == 16:
                self._write(unique, node, body)
            elif code in self._calls:
                self._answer(unique, self._calls[code](node, bytes(body)))
            else:
                self._answer(unique, error=errno.ENOSYS)
        except OSError as error:
            self._answer(unique, error=error.errno or errno.EIO)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
            self._answer(unique, error=errno.EIO)

    def _answer(self, unique: int, data: bytes = b"", *, error: int = 0) -> None:
        head = _OUT.pack(_OUT.size + len(data), -error, unique)
        try:
            os.writev(self._device, [head, data])
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ENODEV):  # given up, or unmounted
                raise

    def _init(self, _: int, body: bytes) -> bytes:
        _, minor, read_ahead, flags = struct.unpack_from("=4I", body)
        wanted = flags & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
        return struct.pack(
            "=4IHHIIHH32x", 7, min(minor, 31), min(read_ahead, _READ_AHEAD), wanted, 64, 48,
            _BIGGEST, 1, _BIGGEST // 4096, 0,
        )  # fmt: skip

    def _lookup(self, node: int, body: bytes) -> bytes:
        name = body.rstrip(b"\0").decode()
        path = self._folder / name
        if node != _ROOT or not path.with_suffix(".cold").exists():
            raise FileNotFoundError(errno.ENOENT, name)
        with self._lock:
            number = self._numbers.setdefault(name, len(self._numbers) + 2)
            self._nodes[number] = path
        return struct.pack("=4QII", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _attributes(self, node: int) -> bytes:
        if node == _ROOT:
            return _ATTR.pack(_ROOT, 0, 0, *[0] * 6, stat.S_IFDIR | 0o700, 2, 0, 0, 0, 4096, 0)
        found = self._nodes[node].stat()
        mode = stat.S_IFREG | 0o600
        return _ATTR.pack(node, found.st_size, found.st_blocks, *[0] * 6, mode, 1, 0, 0, 0, 4096, 0)

    def _getattr(self, node: int, _: bytes) -> bytes:
        return struct.pack("=QII", 0, 0, 0) + self._attributes(node)

    def _setattr(self, node: int, _: bytes) -> bytes:
        """Times are all that anybody sets; they are not kept."""
        return self._getattr(node, b"")

    def _open_file(self, node: int, _: bytes) -> bytes:
        with self._lock:
            held = self._open.get(node)
            volume = held[0] if held else Volume(self._nodes[node])
            self._open[node] = (volume, held[1] + 1 if held else 1)
        return struct.pack("=QIi", node, 0, 0)

    def _release(self, node: int, _: bytes) -> bytes:
        with self._lock:
            volume, users = self._open.pop(node)
            if users > 1:
                self._open[node] = (volume, users - 1)
            else:
                volume.close()
        return b""

    def _fsync(self, node: int, _: bytes) -> bytes:
        os.fdatasync(self._open[node][0].file)
        return b""

    def _fallocate(self, node: int, body: bytes) -> bytes:
        _, offset, length, mode = struct.unpack_from("=3QI", body)
        volume = self._open[node][0]
        volume.touch(offset, length, write=True)
        done = _libc.fallocate(volume.file, mode, ctypes.c_long(offset), ctypes.c_long(length))
        if done != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        return b""

    def _read(self, unique: int, node: int, body: memoryview) -> None:
        _, offset, size = struct.unpack_from("=QQI", body)
        volume = self._open[node][0]

        def work() -> None:
            self._answer(unique, os.pread(volume.file, size, offset))

        self._when_fetched(volume.touch(offset, size), work)

    def _write(self, unique: int, node: int, body: memoryview) -> None:
        _, offset, size = struct.unpack_from("=QQI", body)
        volume = self._open[node][0]
        data = body[40 : 40 + size]
        seconds = volume.touch(offset, size, write=True)
        if seconds > 0:
            data = memoryview(bytes(data))  # the buffer is needed for the next request

        def work() -> None:
            written = os.pwrite(volume.file, data, offset)
            self._answer(unique, struct.pack("=II", written, 0))

        self._when_fetched(seconds, work)

    def _when_fetched(self, seconds: float, work: Callable[[], None]) -> None:
        if seconds > 0:
            self._later.add(seconds, work)
        else:
            work()


def mount(target: Path) -> int:
    """Mount on the folder; gives the descriptor of /dev/fuse that its requests come from."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    done = _libc.mount(b"cold-disks", bytes(target), b"fuse", 6, options.encode())
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"fuse on {target}")
    return device


def main() -> None:
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    server = Server(folder, mount(target))
    threads = [threading.Thread(target=server.serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)  # noqa: T201
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
