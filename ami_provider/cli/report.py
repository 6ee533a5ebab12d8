"""`report`: one HTML page about an AMI for people, one JSON document for programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ami_provider.aws import get_aws
from ami_provider.costs import Price, find_on_demand
from ami_provider.errors import BakeError
from ami_provider.lookups.prospects import find_spot_price
from ami_provider.report_page.document import to_document
from ami_provider.report_page.figures import bytes_in_words
from ami_provider.report_page.page import render
from ami_provider.report_page.starts import read_starts
from ami_provider.reporting import get_report
from ami_provider.site import is_region


def _check_region(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    if not value:
        raise click.BadParameter("name the region, here or in AWS_REGION.")
    if not is_region(value):
        raise click.BadParameter(f"{value!r} is not a region such as ap-northeast-2.")
    return value


@click.command("report")
@click.argument("ami", metavar="AMI|PROJECT/STACK/NAME")
@click.option(
    "--region", envvar="AWS_REGION", callback=_check_region,
    help="Where the AMI is.  [default: AWS_REGION]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default="report.html",
    show_default=True, help="The page.",
)  # fmt: skip
@click.option(
    "--manifest", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Also write the figures as JSON, with Packer's `builds` in it, such as manifest.json.",
)  # fmt: skip
@click.option(
    "--starts", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="How long jobs take to start: what `python -m batch.start_model --json` printed, or "
    "`benchmarks/demo_job.py --json FILE` measured.",
)  # fmt: skip
@click.option(
    "--instance-type", default="g5.xlarge", show_default=True, help="The builder's, for its price."
)
@click.option("--on-demand", is_flag=True, help="Count with its on-demand price, not with spot's.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON; write no page.")
@click.pass_context
def command(
    ctx: click.Context,
    ami: str,
    region: str,
    out: Path,
    manifest: Path | None,
    starts: Path | None,
    instance_type: str,
    on_demand: bool,
    as_json: bool,
) -> None:
    """Write a report on an AMI: one HTML page that loads nothing from anywhere.

    How its bake went, what is in it, what it costs and from when it pays, how long jobs take to
    start, its lineage. PROJECT/STACK/NAME stands for the newest AMI of that lineage.

    Exit codes: 0 done; 1 a file could not be written; 2 the input or the credentials are not good.
    """
    aws = get_aws(region)
    try:
        compared = read_starts(starts) if starts else ()
        spot = None if on_demand else find_spot_price(instance_type, aws)
        price: Price | None = spot or find_on_demand(instance_type, region)
        report = get_report(aws, ami, price=price, starts=compared)
    except BakeError as error:
        click.echo(f"error: {error}", err=True)
        ctx.exit(2)
    document = json.dumps(to_document(report), indent=2)
    page = render(report)
    try:
        if manifest:
            manifest.write_text(f"{document}\n", encoding="utf-8")
        if not as_json:
            out.write_text(page, encoding="utf-8")
    except OSError as error:
        click.echo(f"error: {error.filename} could not be written: {error.strerror}.", err=True)
        ctx.exit(1)
    if as_json:
        click.echo(document)
        return
    size = bytes_in_words(len(page.encode()))
    click.echo(f"{out}: the report on {report.ami.id} ({size}); open it in a browser.")
    if manifest:
        click.echo(f"{manifest}: the same in JSON.")
