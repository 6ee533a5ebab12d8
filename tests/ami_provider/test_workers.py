"""The pool of threads that answers the engine grows, and only where there is one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from ami_provider.workers import widen_worker_pool


def test_a_pool_of_four_then_works_on_ten_at_once() -> None:
    together = threading.Barrier(10)
    with ThreadPoolExecutor(max_workers=4) as pool:
        assert pool.submit(widen_worker_pool).result() == 16
        waits = [pool.submit(together.wait, 600) for _ in range(10)]
        assert sorted(wait.result() for wait in waits) == list(range(10))


def test_outside_of_a_pool_nothing_happens() -> None:
    assert widen_worker_pool() == 0
