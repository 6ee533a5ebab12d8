"""Runs commands: line by line, with the last lines for the error, or in the foreground."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolchain.errors import SetupError

LAST_LINES = 15


def run(
    command: Sequence[str],
    *,
    doing: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], bool] | None = None,
    resolution: Callable[[str], str] = lambda _: "",
) -> str:
    """Run `command` to its end and return what it wrote, both streams in the order written.

    `on_line` gets each line and returns True for those that are only progress: they are kept
    neither in the result nor in the error. A command that is not there or exits with anything but
    0 raises SetupError with its last lines; `resolution` turns those lines into what to do.
    An exception in between (Ctrl-C too) ends the command first.
    """
    kept: list[str] = []
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise SetupError(f"{doing} failed: {command[0]} cannot be started: {error}") from error
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if on_line is None or not on_line(line.rstrip()):
                    kept.append(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        last = "\n".join(deque(kept, maxlen=LAST_LINES))
        how = f"exit status {process.returncode}"
        if process.returncode < 0:
            how = f"ended by signal {-process.returncode}"
        raise SetupError(f"{doing} failed ({how})", details=last, resolution=resolution(last))
    return "\n".join(kept)


def run_in_foreground(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
) -> int:
    """Run `command` on this terminal; its exit status, when it ends by itself.

    Ctrl-C and SIGTERM are its own to answer (Pulumi ends what it is at first): it is never killed
    here. Raises OSError when it cannot be started.
    """
    came: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: Any) -> None:
        # A terminal's Ctrl-C reaches the command by itself: it is in the same process group.
        if number == signal.SIGINT and sys.stdin.isatty():
            return
        if started:
            started[0].send_signal(number)
        else:
            came.append(number)

    # Before the command runs: what it writes can bring a signal while it is still being started.
    before = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(list(command), cwd=cwd, env=None if env is None else dict(env))
        started.append(process)
        for number in came:
            process.send_signal(number)
        while True:  # A signal that comes just as a wait begins is handed on after that wait.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
