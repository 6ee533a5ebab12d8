"""`python3 -m toolchain setup | ensure | debian`: each does its part, or finds it done."""

from __future__ import annotations

import argparse
import sys

from toolchain.base_disk import ensure_base_disk
from toolchain.debian import ensure_browser, ensure_packages
from toolchain.environment import CHECKOUT, VENV, ensure_venv, link_cli
from toolchain.errors import SetupError
from toolchain.locks import locked
from toolchain.pulumi_cli import PulumiCli, ensure_cli
from toolchain.report import say


def main() -> int:
    """Do what the command line names; 0 when it is done, 1 with one clear message when not."""
    parser = argparse.ArgumentParser(prog="python3 -m toolchain", description=__doc__)
    parser.add_argument("part", choices=["setup", "ensure", "debian"])
    part = parser.parse_args().part
    try:
        if part == "ensure":
            cli = ensure_cli(besides=[VENV / "bin"])
            say(f"Using {_which(cli)} in {cli.folder}.")
            sys.stdout.write(f"{cli.folder}\n")
        elif part == "debian":
            ensure_packages()
            ensure_browser()
        else:
            with locked(CHECKOUT, waiting_for="setting up this checkout"):
                _set_up()
    except SetupError as error:
        say(f"error: {error}")
        return 1
    except OSError as error:
        say(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "))
        say("  To do: see that this path can be written to and that the disk is not full.")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the same command takes it up again.")
        return 130
    return 0


def _set_up() -> None:
    """Everything that `make up` and `make test` need, each part silent when it is there."""
    ensure_venv()
    cli = ensure_cli(besides=[VENV / "bin"])
    if not cli.built:
        say(f"Using {_which(cli)} in {cli.folder}.")
    link_cli(cli)
    ensure_packages()
    ensure_browser()
    ensure_base_disk()


def _which(cli: PulumiCli) -> str:
    return f"{'Pulumi' if cli.built else 'the installed Pulumi'} {cli.version}"


if __name__ == "__main__":
    sys.exit(main())
