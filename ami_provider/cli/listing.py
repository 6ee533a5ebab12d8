"""`list`: the AMIs of a lineage, or of the whole region."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ami_provider.cli import asking, printing
from ami_provider.costs import format_usd
from ami_provider.course import GIB
from ami_provider.holdings import HeldAmi, list_amis, list_lineages

LINEAGE = "PROJECT[/STACK[/NAME]]"


@click.command("list", epilog=asking.EXIT_CODES)
@click.argument("lineage", default="", metavar=f"[{LINEAGE}]")
@asking.region
@asking.as_json
def command(lineage: str, region: str, as_json: bool) -> None:
    """List the AMIs of bakes: whose, since when, used by whom, how big, at what cost.

    With a lineage only those that were baked for it or are owned by it.
    """
    with asking.looking(region):
        aws = asking.open_region(region)
        amis = list_amis(aws, lineage)
        if lineage and not amis:
            refuse_lineage(lineage, region, list_amis(aws, with_users=False))
    if as_json:
        asking.print_json({"region": region, "amis": [to_plain(ami) for ami in amis]})
        return
    if not amis:
        click.echo(f"No AMI of a bake is in {region}.")
        return
    heads = ("AMI", "since", "standing", "verified", "size", "a month", "lineage", "used by")
    printing.print_table(heads, [_row(ami) for ami in amis], right="size, a month")
    total = sum(ami.month_usd for ami in amis)
    click.echo(f"{len(amis)} AMIs, {format_usd(total)} a month for their snapshots.")


def refuse_lineage(lineage: str, region: str, amis: list[HeldAmi]) -> None:
    """End the command: no AMI is of this lineage."""
    known = list_lineages(amis)
    there = f"There are: {', '.join(known)}." if known else "No AMI of a bake is there."
    asking.refuse(f"no AMI in {region} is of the lineage {lineage!r}. {there}")


def to_plain(ami: HeldAmi) -> dict[str, Any]:
    """An AMI as plain data for `--json`."""
    return asdict(ami) | {"month_usd": round(ami.month_usd, 4)}


def format_size(ami: HeldAmi) -> str:
    """What is stored, or the volumes' size where EC2 does not tell that."""
    if ami.stored_bytes is None:
        return f"{ami.size_gib} GiB"
    return f"{ami.stored_bytes / GIB:.1f} GiB"


def tell_owners(ami: HeldAmi) -> str:
    """Who owns it: by name where that is known, else how many."""
    named = [holder.lineage or f"owner {holder.key}" for holder in ami.holders]
    return ", ".join(named)


def _row(ami: HeldAmi) -> tuple[str, ...]:
    since = max((holder.since for holder in ami.holders), default=ami.created)
    standing = ami.standing if ami.state == "available" else f"{ami.standing}, {ami.state}"
    users = ami.users or ()
    used = users[0] if len(users) == 1 else f"{len(users)} things" if users else "-"
    return (
        ami.ami_id, f"{since:%Y-%m-%d %H:%M}", standing, ami.verified or "no", format_size(ami),
        format_usd(ami.month_usd), ami.lineage or "-", used,
    )  # fmt: skip
