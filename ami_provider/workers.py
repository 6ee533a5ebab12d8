"""Lets one provider process work on more resources at once than the SDK's four."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 16
"""A bake mostly waits, so many fit in one process; the engine's own `--parallel` still holds."""


def widen_worker_pool(at_once: int = AT_ONCE) -> int:
    """Raise the number of threads that answer the engine; gives how many there may be now.

    The SDK starts its server with four and has no setting for it (SDK 3.272): ten bakes would take
    as long as three. Called from one of those threads, which knows its pool. Where that is not so
    (another SDK, another Python), nothing changes, and 0 is given.
    """
    held = getattr(threading.current_thread(), "_args", None) or (None,)
    pool = held[0]() if callable(held[0]) else None
    if not isinstance(pool, ThreadPoolExecutor):
        return 0
    pool._max_workers = max(pool._max_workers, at_once)
    return pool._max_workers
