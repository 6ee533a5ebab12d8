"""`prune`: a lineage's earlier AMIs go, and on request what its bakes left behind."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from ami_provider.aws import Aws
from ami_provider.cli import asking, listing, show
from ami_provider.errors import BakeError
from ami_provider.holdings import list_amis, read_lineages
from ami_provider.pruning import Pruned, list_claimants, prune_lineage
from ami_provider.sweeping import Leftover, find_leftovers, remove_leftover

LEFT_FOR = timedelta(days=1)
"""Younger leftovers stay: a bake that still runs is younger than this."""
TOLD = {
    "current": "stays", "kept": "stays", "in use": "stays, in use", "goes": "would be deleted",
    "gone": "deleted", "left to others": "left to others", "failed": "not deleted",
}  # fmt: skip


@click.command("prune", epilog=asking.EXIT_CODES)
@click.argument("lineage", metavar="PROJECT/STACK/NAME")
@click.argument("amis", nargs=-1, metavar="[AMI]...")
@click.option(
    "--keep", default=1, show_default=True, type=click.IntRange(0, 100),
    help="How many earlier AMIs stay beside the current one, the newest.",
)  # fmt: skip
@click.option(
    "--leftovers", is_flag=True,
    help="Also what its bakes left behind and nobody owns: as `sweep` does, if older than a day.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@asking.region
@asking.as_json
def command(
    lineage: str,
    amis: tuple[str, ...],
    keep: int,
    leftovers: bool,
    dry_run: bool,
    region: str,
    as_json: bool,
) -> None:
    """Delete a lineage's earlier AMIs with their snapshots and copies, all or those named.

    An AMI goes only when another one of the lineage has replaced it and nothing uses it: no
    machine, environment, template, parameter or other AMI. What has not this program's tags is
    refused.
    """
    with asking.looking(region):
        aws = asking.open_region(region)
        owners = _find_owners(lineage, aws)
        _refuse_foreign(lineage, amis, aws)
        left = find_leftovers(aws, LEFT_FOR, lineage=lineage) if leftovers else []
    with asking.acting():
        found = [
            one
            for owner in owners
            for one in prune_lineage(aws, owner, keep=keep, dry_run=dry_run, only=amis)
        ]
        rows = [_remove(aws, one, dry_run=dry_run) for one in left]
    if as_json:
        document: dict[str, Any] = {
            "region": region,
            "lineage": lineage,
            "dry_run": dry_run,
            "amis": [asdict(one) for one in found],
            "leftovers": rows,
        }
        asking.print_json(document)
    else:
        _print(found, rows, lineage)
    failed = any(one.verdict == "failed" for one in found)
    if failed or any(row["outcome"] == "not removed" for row in rows):
        raise SystemExit(asking.FAILED)


def _find_owners(lineage: str, aws: Aws) -> list[Any]:
    try:
        candidates = read_lineages(lineage)
    except ValueError as error:
        asking.refuse(str(error))
    owners = list(list_claimants(candidates, aws))
    if not owners:
        amis = list_amis(aws, with_users=False)
        if any(ami.lineage == lineage for ami in amis):
            asking.refuse(
                f"no AMI in {aws.region} is owned by {lineage!r} itself: those that were baked "
                f"for it belong to nobody (--leftovers of `sweep`) or to other resources."
            )
        listing.refuse_lineage(lineage, aws.region, amis)
    return owners


def _refuse_foreign(lineage: str, amis: tuple[str, ...], aws: Aws) -> None:
    for ami in amis:
        held = show.get_record(ami, aws).ami
        if lineage not in (held.lineage, *(holder.lineage for holder in held.holders)):
            asking.refuse(f"{ami} is of the lineage {held.lineage!r}, not of {lineage!r}.")


def _remove(aws: Aws, one: Leftover, *, dry_run: bool) -> dict[str, str]:
    outcome, why = ("spared", one.spared) if one.spared else ("would be removed", "")
    if not one.spared and not dry_run:
        outcome = "removed"
        try:
            remove_leftover(aws, one)
        except BakeError as error:
            outcome, why = "not removed", " ".join(str(error).split())
    return {"id": one.id, "kind": one.kind, "what": one.what, "outcome": outcome, "why": why}


def _print(found: list[Pruned], rows: list[dict[str, str]], lineage: str) -> None:
    for one in found:
        why = f": {one.why}" if one.why else ""
        click.echo(f"{TOLD[one.verdict]}: {one.ami_id} ({one.name}){why}")
    for row in rows:
        why = f": {row['why']}" if row["why"] else ""
        click.echo(f"{row['outcome']}: {row['kind']} {row['id']}, {row['what']}{why}")
    if not found and not rows:
        click.echo(f"Nothing of {lineage} can go.")
