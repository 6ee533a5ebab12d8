"""Signals of this process, waited for in order, also where one comes in just before the wait."""

from __future__ import annotations

import contextlib
import select
import signal
import socket


class Signals:
    """Takes signals from now on. Make it in the main thread, and wait there.

    Python's own handler runs when the main thread gets round to it, which is never where the signal
    came in between its last look and a wait that blocks. What is read here is written by the C
    handler itself, at once.
    """

    #: What `next` gives after `wake`.
    WOKEN = 0

    def __init__(self, *numbers: int) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)

    def next(self) -> int:
        """The next signal's number, once there is one."""
        return self._receiver.recv(1)[0]

    def came(self) -> bool:
        """Whether one is there."""
        return bool(select.select([self._receiver], [], [], 0)[0])

    def wake(self) -> None:
        """Have `next` give WOKEN; from any thread."""
        with contextlib.suppress(BlockingIOError):
            self._sender.send(bytes([self.WOKEN]))
