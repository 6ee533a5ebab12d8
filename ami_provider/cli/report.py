"""`report`: one HTML page about an AMI for people, one JSON document for programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ami_provider.aws import Aws
from ami_provider.cli import asking, listing, show
from ami_provider.costs import find_on_demand
from ami_provider.holdings import AmiRecord, list_amis
from ami_provider.lookups.prospects import find_spot_price
from ami_provider.report_page.document import to_document
from ami_provider.report_page.starts import read_starts
from ami_provider.reporting import get_report

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("report", epilog=asking.EXIT_CODES)
@click.argument("ami", metavar="AMI|PROJECT/STACK/NAME")
@click.option("--out", type=FILE, default="report.html", show_default=True, help="The page.")
@click.option(
    "--manifest", type=FILE, metavar="FILE",
    help="Also write the figures as JSON, with Packer's `builds` in it, such as manifest.json.",
)  # fmt: skip
@click.option(
    "--starts", type=FILE, metavar="FILE",
    help="How long jobs take to start: what `python -m batch.start_model --json` prints, or "
    "`make demo-job ARGS='--json FILE'` measured.",
)  # fmt: skip
@click.option(
    "--instance-type", default="g5.xlarge", show_default=True, help="The builder's, for its price."
)
@click.option("--on-demand", is_flag=True, help="Count with its on-demand price, not with spot's.")
@asking.region
@asking.as_json
def command(
    ami: str,
    out: Path,
    manifest: Path | None,
    starts: Path | None,
    instance_type: str,
    on_demand: bool,
    region: str,
    as_json: bool,
) -> None:
    """Write a report on an AMI: one HTML page that loads nothing from anywhere.

    How its bake went, what is in it, what it costs and from when it pays, how long jobs take to
    start, its lineage. PROJECT/STACK/NAME stands for the current AMI of that lineage. With --json
    the same is printed, and no page is written.
    """
    with asking.looking(region):
        aws = asking.open_region(region)
        compared = read_starts(starts) if starts else ()
        spot = None if on_demand else find_spot_price(instance_type, aws)
        price = spot or find_on_demand(instance_type, region)
        report = get_report(aws, _get_record(ami, aws), price=price, starts=compared)
    document = json.dumps(to_document(report), indent=2)
    if manifest:
        _write(manifest, f"{document}\n")
    if as_json:
        click.echo(document)
        return
    from ami_provider.report_page.page import render  # the template engine, which others wait for

    _write(out, render(report))
    click.echo(f"{out}: the report on {report.ami.id}; open it in a browser.")
    if manifest:
        click.echo(f"{manifest}: the same in JSON.")


def _get_record(ami: str, aws: Aws) -> AmiRecord:
    if "/" not in ami:
        return show.get_record(ami, aws)
    found = list_amis(aws, ami, with_users=False)
    if not found:
        listing.refuse_lineage(ami, aws.region, list_amis(aws, with_users=False))
    current = [one for one in found if one.standing == "current"]
    return show.get_record((current or found)[0].ami_id, aws)


def _write(path: Path, text: str) -> None:
    """Write a file whole; ends the command with 1 where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"error: {path} could not be written: {error.strerror}.", err=True)
        raise SystemExit(asking.FAILED) from None
