"""`make up`, `preview` and `down` from the inside: Pulumi's commands, under `local_cloud run`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain.environment import CHECKOUT
from toolchain.process import run_in_foreground
from toolchain.report import say

STACK = "local"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command on the stack `local`; the exit status is that of the first part to fail."""
    parser = argparse.ArgumentParser(prog="python -m toolchain.on_local_cloud", description=__doc__)
    parser.add_argument("command", choices=["up", "preview", "down"])
    known, extra = parser.parse_known_args(arguments)
    if not os.environ.get("AWS_ENDPOINT_URL"):
        say("error: there is no local cloud here (AWS_ENDPOINT_URL is not set).")
        say("  To do: `make up`, `make preview` or `make down`, which start one around this.")
        return 2
    return _open_stack() or {"up": _up, "preview": _preview, "down": _down}[known.command](extra)


def _open_stack() -> int:
    """Select the stack, make it the first time, and take away the lock of a killed update.

    `local_cloud run --state` lets one process at a time have the state folder, and with it this
    stack: a lock that is there now has no owner any more.
    """
    status = _pulumi("stack", "select", "--create", STACK)
    if status == 0 and _is_locked(os.environ.get("PULUMI_BACKEND_URL", "")):
        say("The last update was cut off; taking its lock away.")
        status = _pulumi("cancel", "--yes", "--stack", STACK)
    return status


def _is_locked(backend: str) -> bool:
    scheme, _, folder = backend.partition("://")
    locks = Path(folder) / ".pulumi" / "locks"
    return scheme == "file" and any(path.is_file() for path in locks.rglob("*.json"))


def _up(extra: Sequence[str]) -> int:
    """Update, and end with the outputs: once, complete, whether or not they changed."""
    status = _pulumi("up", "--yes", "--suppress-outputs", "--stack", STACK, *extra)
    return status or _pulumi("stack", "output", "--stack", STACK)


def _preview(extra: Sequence[str]) -> int:
    return _pulumi("preview", "--stack", STACK, *extra)


def _down(extra: Sequence[str]) -> int:
    return _pulumi("destroy", "--yes", "--stack", STACK, *extra) or _show_inventory()


def _show_inventory() -> int:
    """Show what is left in the account: nothing, or it is a failure."""
    asked = subprocess.run(
        [sys.executable, "-m", "local_cloud", "inventory", "--json"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return asked.returncode
    left = {kind: things for kind, things in json.loads(asked.stdout).items() if things}
    if left:
        say(f"error: left behind in the local cloud: {json.dumps(left, indent=2)}")
        return 1
    say("The local cloud's inventory is empty: nothing was left behind.")
    return 0


def _pulumi(*arguments: str) -> int:
    return run_in_foreground(["pulumi", *arguments], cwd=CHECKOUT)


if __name__ == "__main__":
    sys.exit(main())
