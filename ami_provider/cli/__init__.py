"""The command line: one module for each command, gathered here.

Exit codes of every command: 0 done; 1 something could not be done, each named; 2 the input or the
credentials are not good and nothing was changed.
"""

from __future__ import annotations

import click

from ami_provider.cli import report, sweep

EPILOG = (
    "Exit codes: 0 done; 1 something could not be done, each named; 2 the input or the "
    "credentials are not good, and nothing was changed."
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What people and pipelines do with baked AMIs beside Pulumi."""


main.add_command(report.command)
main.add_command(sweep.command)
