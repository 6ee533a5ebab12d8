"""`doctor`: is everything there that a bake needs?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ami_provider.asked import read_inputs
from ami_provider.cli import asking, printing
from ami_provider.examining import Check, examine

SIGNS = {"ok": "ok", "fault": "FAULT", "unknown": "?"}


@click.command("doctor", epilog=asking.EXIT_CODES)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--region", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], default=None,
    help="Where to look, without a FILE.  [default: AWS_REGION]",
)  # fmt: skip
@asking.as_json
@click.pass_context
def command(ctx: click.Context, file: Path | None, region: str | None, as_json: bool) -> None:
    """Look at all that a bake needs: credentials, permission to launch, quotas, a way out and 443,
    service-linked roles; with a recipe FILE also its images, models, subnets, groups and profile.

    Nothing is changed: launching is asked as a dry run. Exit code 1 if there is a fault.
    """
    given, asked = {}, None
    if file is not None:
        given = asking.read_recipe_file(file)
        with asking.looking(str(file)):
            asked = read_inputs(given)
            given["lineage"] = asked.lineage.model_dump()
        region = asked.site.region if asked else region
    name = asking.check_region(ctx, ctx.command.params[1], region)
    with asking.looking(name):
        checks = examine(asking.open_region(name), asked, given)
    if as_json:
        asking.print_json({"region": name, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    if any(check.status == "fault" for check in checks):
        raise SystemExit(asking.FAILED)


def _print(checks: list[Check]) -> None:
    rows = [(SIGNS[check.status], check.name, check.text) for check in checks]
    printing.print_table(("", "what", "found"), rows)
    told = [check for check in checks if check.remedy]
    if told:
        click.echo("")
        click.echo("What to do:")
    for check in told:
        click.echo(f"  {check.name}: {check.remedy}")
