"""`sweep`: remove what bakes left behind, by tag and age."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import click

from ami_provider.aws import get_aws
from ami_provider.errors import BakeError
from ami_provider.site import is_region
from ami_provider.stages import format_seconds
from ami_provider.sweeping import Leftover, find_leftovers, remove_leftover

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Age(click.ParamType[timedelta]):
    """`90m`, `6h` or `2d`."""

    name = "AGE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhd])", str(value))
        if not found:
            self.fail(f"{value!r} is not an age such as 90m, 6h or 2d.", param, ctx)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


def _check_regions(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    if not value:
        raise click.BadParameter("name a region, here or in AWS_REGION.")
    for region in value:
        if not is_region(region):
            raise click.BadParameter(f"{region!r} is not a region such as ap-northeast-2.")
    return tuple(dict.fromkeys(value))


@click.command("sweep")
@click.option(
    "--older-than", type=Age(), default="1d", show_default=True,
    help="Leave alone what is younger: 90m, 6h, 2d. A bake that still runs is younger than this.",
)  # fmt: skip
@click.option(
    "--region", "regions", multiple=True, envvar="AWS_REGION", callback=_check_regions,
    help="Where to look; may be repeated.  [default: AWS_REGION]",
)  # fmt: skip
@click.option(
    "--lineage", default="", metavar="PROJECT[/STACK[/NAME]]",
    help="Only what was baked for this project, stack or resource.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    ctx: click.Context,
    older_than: timedelta,
    regions: tuple[str, ...],
    lineage: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove machines, volumes, AMIs and snapshots that bakes left behind.

    They are found by their tags (baked-ami:…). An AMI that a stack owns, a copy of one that the
    stack asks for, and whatever is in use, stays. Machines end by themselves anyway, but for a
    stopped one that on_failure: keep kept.

    Exit codes: 0 all of it is removed (or there is none, or it was a dry run); 1 something could
    not be removed; 2 the input or the credentials are not good.
    """
    rows = []
    failed = False
    for region in regions:
        aws = get_aws(region)
        try:
            leftovers = find_leftovers(aws, older_than, lineage=lineage)
        except BakeError as error:
            click.echo(f"error: {region}: {error}", err=True)
            ctx.exit(2)
        for one in leftovers:
            outcome, why = "spared" if one.spared else "would be removed", one.spared
            if not one.spared and not dry_run:
                outcome = "removed"
                try:
                    remove_leftover(aws, one)
                except BakeError as error:
                    outcome, why, failed = "not removed", str(error), True
            rows.append(_row(region, one, outcome, why))
            if not as_json:
                click.echo(f"{outcome}: {one} ({region}, since {one.since:%Y-%m-%d %H:%M} UTC)"
                           + (f": {why}" if why else ""))  # fmt: skip
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "leftovers": rows}, indent=2))
    elif not rows:
        age = format_seconds(older_than.total_seconds())
        click.echo(f"Nothing of bakes that is older than {age} in {', '.join(regions)}.")
    ctx.exit(1 if failed else 0)


def _row(region: str, one: Leftover, outcome: str, why: str) -> dict[str, str]:
    return {
        "region": region,
        "kind": one.kind,
        "id": one.id,
        "lineage": one.lineage,
        "what": one.what,
        "since": one.since.isoformat(),
        "outcome": outcome,
        "why": why,
    }
