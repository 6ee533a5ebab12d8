"""The command line: one module for each command, gathered here.

Exit codes of every command: 0 done; 1 something could not be done, each named; 2 the input or the
credentials are not good and nothing was changed.
"""

from __future__ import annotations

import click

from ami_provider.cli import bake, doctor, listing, plan, prune, report, show, sweep
from ami_provider.cli.asking import EXIT_CODES


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What people and pipelines do with baked AMIs beside Pulumi."""


for module in (plan, bake, listing, show, report, prune, doctor, sweep):
    main.add_command(module.command)
