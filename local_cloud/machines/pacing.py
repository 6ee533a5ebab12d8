"""The speed of the way between machines and AWS: bytes wait until a link of that speed has carried
them.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

#: Bytes that are let through together: small enough for an even flow at 1 MB/s.
PIECE = 64 * 1024
MB = 10**6
#: A caller that is late by less catches up, so that slow threads do not lower the rate; one that
#: is later was idle, and gets nothing for that.
_LATE_S = 0.25


class Speed(Protocol):
    """What is asked for: MB/s for each direction, None for no limit; milliseconds."""

    @property
    def machine_mb_per_s(self) -> float | None: ...
    @property
    def connection_mb_per_s(self) -> float | None: ...
    @property
    def round_trip_ms(self) -> float: ...


class Bucket:
    """One direction of one link. `moved` counts its bytes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.moved = 0

    def reserve(self, size: int, mb_per_s: float | None) -> float:
        """Take a turn for that many bytes: how many seconds until the link has carried them."""
        with self._lock:
            self.moved += size
            if mb_per_s is None:
                return 0.0
            now = self._now()
            begin = self._free_at if now - self._free_at < _LATE_S else now
            self._free_at = begin + size / (mb_per_s * MB)
            return max(0.0, self._free_at - now)


class _Pair:
    """Both directions."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.down, self.up = Bucket(now), Bucket(now)


class Link:
    """All machines' links. `speed` is asked for each piece, so it may change at any time."""

    def __init__(
        self,
        speed: Callable[[], Speed],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self._speed, self._now, self._sleep = speed, now, sleep
        self._lock = threading.Lock()
        self._machines: dict[str, _Pair] = {}

    def connect(self, address: str) -> Connection:
        """A new connection of the machine with this address."""
        with self._lock:
            machine = self._machines.setdefault(address, _Pair(self._now))
        return Connection(self._speed, self._sleep, machine, _Pair(self._now))

    def moved(self, address: str) -> tuple[int, int]:
        """Bytes so far to the machine, and from it."""
        with self._lock:
            machine = self._machines.get(address, _Pair(self._now))
        return machine.down.moved, machine.up.moved


class Connection:
    """One connection: it waits its turn on the machine's link, and has a limit of its own."""

    def __init__(
        self, speed: Callable[[], Speed], sleep: Callable[[float], Any], machine: _Pair, own: _Pair
    ) -> None:
        self._speed, self._sleep = speed, sleep
        self._machine, self._own = machine, own

    def round_trips(self, count: int) -> None:
        """Wait as for that many messages there and back."""
        if milliseconds := self._speed().round_trip_ms:
            self._sleep(count * milliseconds / 1000)

    def is_limited(self) -> bool:
        speed = self._speed()
        return speed.machine_mb_per_s is not None or speed.connection_mb_per_s is not None

    def carry_down(self, size: int) -> None:
        """Wait until that many bytes have come to the machine."""
        self._carry(size, self._machine.down, self._own.down)

    def carry_up(self, size: int) -> None:
        self._carry(size, self._machine.up, self._own.up)

    def _carry(self, size: int, machine: Bucket, own: Bucket) -> None:
        speed = self._speed()
        wait = max(
            machine.reserve(size, speed.machine_mb_per_s),
            own.reserve(size, speed.connection_mb_per_s),
        )
        if wait > 0:
            self._sleep(wait)


class PacedWriter(io.BufferedIOBase):
    """Writes to the machine over its link."""

    def __init__(self, to: Any, connection: Connection) -> None:
        self._to, self._connection = to, connection

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        whole = memoryview(data).cast("B")
        step = PIECE if self._connection.is_limited() else max(1, len(whole))
        for start in range(0, len(whole), step):
            piece = whole[start : start + step]
            self._connection.carry_down(len(piece))
            self._to.write(piece)
        return len(whole)

    def flush(self) -> None:
        self._to.flush()


class PacedReader(io.RawIOBase):
    """Reads from the machine over its link. Wrap it in a BufferedReader."""

    def __init__(self, raw: Any, connection: Connection) -> None:
        self._raw, self._connection = raw, connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        room = memoryview(buffer)
        if self._connection.is_limited():
            room = room[:PIECE]
        count: int | None = self._raw.readinto(room)
        if count:
            self._connection.carry_up(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
