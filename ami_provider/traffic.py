"""Tells while a machine pulls and downloads how many bytes have come in so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ami_provider.commands import run_command
from ami_provider.job import Job
from ami_provider.machines import Machine

FIRST_S = 3.0
"""A stage that is shorter than this is not worth a look."""
SHARE = 0.1
LONGEST_S = 30.0

COUNT = """
device=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
cat "/sys/class/net/$device/statistics/rx_bytes"
"""


@contextmanager
def tell_bytes(job: Job, machine: Machine, total: int) -> Iterator[None]:
    """While the block runs, its stage's line says how much the machine has received of `total`.

    Counted at its network device from the first look on, so a little more than the files (headers)
    or less (what came before the look, or was there already). Nothing is told without a total.
    """
    over = threading.Event()
    if total > 0:
        thread = threading.Thread(
            target=_tell, args=(job, machine, total, over), daemon=True, name="bytes received"
        )
        thread.start()
    try:
        yield
    finally:
        over.set()


def _tell(job: Job, machine: Machine, total: int, over: threading.Event) -> None:
    start: int | None = None
    pause = FIRST_S
    waited = 0.0
    while not over.wait(pause):
        waited += pause
        pause = min(max(FIRST_S, waited * SHARE), LONGEST_S)
        try:
            reply = run_command(job.aws, machine.id, COUNT, timeout_s=30, why="bytes received")
            received = int(reply.output)
        except Exception:  # noqa: S112  # Only for show: what is wrong, the step itself will tell.
            continue
        if over.is_set():
            return
        start = received if start is None else start
        if received > start:
            job.stages.set_detail(describe(received - start, total))


def describe(received: int, total: int) -> str:
    """`3.2 of 17.0 GB`, in units of 1000; never more than the total."""
    received = min(received, total)
    size, unit = next(
        (size, unit) for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
        if total >= size or size == 1
    )  # fmt: skip
    return f"{received / size:.1f} of {total / size:.1f} {unit}"
