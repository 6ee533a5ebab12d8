"""One stack in your own account: Pulumi's commands as `build-ami.ps1` calls them, or you do."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolchain.process import run_in_foreground
from toolchain.report import say

CHECKOUT = Path(__file__).resolve().parent.parent

DEBUGGING = ("baked-ami:build.debug=true", "baked-ami:build.onFailure=keep")
"""Every command and its output; after a failure the builder stays, and it says how to get in."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one action; further options go to Pulumi. Its exit status, or 2 where nothing was run."""
    parser = argparse.ArgumentParser(prog="python -m toolchain.own_account", description=__doc__)
    parser.add_argument("action", choices=["validate", "preview", "up", "destroy"])
    parser.add_argument("--stack", default="dev", help="the stack, and its Pulumi.STACK.yaml (dev)")
    parser.add_argument("--debug", action="store_true", help=f"for this run: {DEBUGGING}")
    known, extra = parser.parse_known_args(arguments)
    settings = CHECKOUT / f"Pulumi.{known.stack}.yaml"
    if not settings.is_file():
        say(f"error: there is no {settings.name}.")
        say(f"  To do: copy Pulumi.dev.yaml to {settings.name} and put your own values there.")
        return 2
    if known.action == "validate":
        check = [sys.executable, "-m", "settings", "check", "--stack", known.stack]
        return run_in_foreground(check, cwd=CHECKOUT)
    if shutil.which("pulumi", path=_environment()["PATH"]) is None:
        say("error: there is no pulumi on PATH.")
        say("  To do: install it (https://www.pulumi.com/docs/install/), or `make setup` on Linux.")
        return 2
    with _debugging(settings, wanted=known.debug and known.action != "destroy") as options:
        command = ["pulumi", known.action, "--stack", known.stack, *options, *extra]
        return run_in_foreground(command, cwd=CHECKOUT, env=_environment())


@contextmanager
def _debugging(settings: Path, *, wanted: bool) -> Iterator[list[str]]:
    """Options for one run with debugging on; the stack's own file stays as it is.

    Pulumi writes what `--config` says into the file that it reads: a copy, gone afterwards.
    """
    if not wanted:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(settings, folder))
        changes = [word for change in DEBUGGING for word in ("--config", change)]
        yield ["--config-file", str(copy), "--config-path", *changes]


def _environment() -> dict[str, str]:
    """This Python's folder is first on PATH: there are its packages, and a `pulumi` built here."""
    here = Path(sys.executable).parent
    return dict(os.environ) | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}


if __name__ == "__main__":
    sys.exit(main())
