"""Ends the provider's process when its engine is gone: one killed hard does not end its plugins.

What was under way continues with the next `pulumi up`, as after any other death of the client.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

PAUSE_S = 2.0
REFUSALS = 5
"""A busy machine may refuse now and then; so many in a row mean that nobody listens any more."""

_watched: set[str] = set()
_lock = threading.Lock()


def end_with_engine(address: str, end: Callable[[], None] = lambda: os._exit(1)) -> None:
    """Call `end` once the engine at `host:port` was there and is not any more. May be repeated."""
    with _lock:
        if address in _watched:
            return
        _watched.add(address)
    threading.Thread(target=_watch, args=(address, end), daemon=True, name="engine").start()


def _watch(address: str, end: Callable[[], None]) -> None:
    host, _, port = address.rpartition(":")
    place = (host, int(port)) if port.isdecimal() else None
    if place is None or not _hold(place):
        return
    refused = 0
    while refused < REFUSALS:
        time.sleep(PAUSE_S)
        refused = 0 if _hold(place) else refused + 1
    end()


def _hold(place: tuple[str, int]) -> bool:
    """Wait until the engine closes a connection, which it does now and then; False without one."""
    try:
        with socket.create_connection(place, timeout=30) as connection:
            connection.settimeout(None)
            with contextlib.suppress(OSError):
                while connection.recv(4096):
                    pass
            return True
    except OSError:
        return False
