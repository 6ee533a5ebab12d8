"""Notices that the engine has gone: one that is killed hard does not end its plugins."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

PAUSE_S = 1.0
REFUSALS = 3
"""A busy machine may refuse once; so many in a row mean that nobody listens any more."""


def watch_engine(address: str, gone: Callable[[], None]) -> None:
    """Call `gone` once the engine at `host:port` was there and is not any more.

    A connection is held open, so that its end tells at once; where nobody ever answered at the
    address, there is nothing to watch.
    """
    threading.Thread(target=_watch, args=(address, gone), daemon=True, name="engine").start()


def _watch(address: str, gone: Callable[[], None]) -> None:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not _hold((host, int(port))):
        return
    refused = 0
    while refused < REFUSALS:
        time.sleep(PAUSE_S)
        refused = 0 if _hold((host, int(port))) else refused + 1
    gone()


def _hold(address: tuple[str, int]) -> bool:
    """Wait until the engine closes the connection (it does so after a while); False if it cannot
    be made."""
    try:
        with socket.create_connection(address, timeout=10) as connection:
            connection.settimeout(None)
            with contextlib.suppress(OSError):
                while connection.recv(4096):
                    pass
            return True
    except OSError:
        return False
