"""`python -m settings check`: a stack's settings, before anything is asked of anyone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from settings.reading import SettingsError, read_file

CHECKOUT = Path(__file__).resolve().parent.parent


@click.group()
def main() -> None:
    """What a stack may say under `baked-ami:`."""


@main.command()
@click.option("--stack", default="dev", show_default=True, help="Whose settings file is read.")
def check(stack: str) -> None:
    """Say whether a stack's settings can be used; every fault at once.

    Needs no credentials and no network. Exit codes: 0 they can; 2 they cannot.
    """
    file = CHECKOUT / f"Pulumi.{stack}.yaml"
    try:
        settings = read_file(file)
    except SettingsError as error:
        click.echo(f"error: {file.name}: {error}", err=True)
        sys.exit(2)
    click.echo(f"{file.name}: the settings can be used, for {settings.region}.")


if __name__ == "__main__":
    main(prog_name="python -m settings")
