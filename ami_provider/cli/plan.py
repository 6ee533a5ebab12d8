"""`plan`: resolve a recipe file and forecast its bake; nothing is changed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ami_provider.asked import read_inputs
from ami_provider.checking import Checked, check_inputs
from ami_provider.cli import asking, printing
from ami_provider.costs import format_usd
from ami_provider.forecast import Forecast
from ami_provider.stages import format_seconds

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))

FILE_HELP = """FILE is YAML, or JSON if its name ends in .json, with the inputs of the resource by
the same names: recipe (images, models, base, extra_steps, root_volume, …), site (region,
subnet_ids, security_group_ids, instance_profile, …) and lineage (project, stack, name); also tags,
keep, publication and trusted_owners."""

BASES = {"figures": "sizes, figures", "earlier": "earlier bakes", "unknown": "unknown"}


@click.command(
    "plan",
    epilog=asking.EXIT_CODES,
    help=f"""Say what a bake of FILE would be: adopted
or baked, how long by stage, at what cost. Only asks AWS.

{FILE_HELP}""",
)
@FILE
@asking.as_json
def command(file: Path, as_json: bool) -> None:
    checked = check_file(file)
    forecast = checked.forecast
    assert forecast is not None  # Without former inputs there is always one.
    if as_json:
        asking.print_json(to_document(checked))
        return
    told = forecast.to_lines()
    for note in checked.notes[: len(checked.notes) - len(told)]:
        click.echo(f"note: {note}")
    click.echo(told[0])
    if checked.inputs.get("manifest"):
        printing.print_facts(_list_facts(checked))
    if forecast.outcome == "bake":
        click.echo("")
        _print_stages(forecast)
        click.echo("")
        for line in told[1:]:
            click.echo(line)


def check_file(file: Path) -> Checked:
    """A recipe file's inputs, checked and looked up. Ends the command where they are not good."""
    given = asking.read_recipe_file(file)
    with asking.looking(str(file)):
        asked = read_inputs(given)
        given["lineage"] = asked.lineage.model_dump()
        return check_inputs({}, given, asking.open_region)


def to_document(checked: Checked) -> dict[str, Any]:
    """What `--json` prints."""
    forecast = checked.forecast
    assert forecast is not None
    return {
        "fingerprint": checked.inputs["fingerprint"],
        "region": checked.inputs["region"],
        "images": checked.inputs["images"],
        "manifest": checked.inputs["manifest"],
        "notes": list(checked.notes),
        "forecast": to_plain(forecast),
    }


def to_plain(forecast: Forecast) -> dict[str, Any]:
    """A forecast as plain data, with what it adds up to."""
    even = forecast.break_even
    plain = asdict(forecast) | {"seconds": forecast.seconds}
    if even:
        plain["break_even"] |= {"jobs_a_month": even.jobs, "job_usd": even.job_usd}
    return plain


def _list_facts(checked: Checked) -> dict[str, str]:
    manifest = checked.inputs["manifest"]
    base = manifest["base"]
    images = [f"{i['repository']}{':' + i['tag'] if i['tag'] else ''} {i['digest']}"
              for i in checked.inputs["images"]]  # fmt: skip
    models = manifest["models"]
    return {
        "fingerprint": checked.inputs["fingerprint"],
        "region": checked.inputs["region"],
        "base AMI": f"{base['ami_id']} {base['name']}",
        "images": "\n".join(images),
        "models": "\n".join(model["destination"] for model in models[:20])
        + (f"\nand {len(models) - 20} more" if len(models) > 20 else ""),
    }


def _print_stages(forecast: Forecast) -> None:
    rows = [
        (stage.what, format_seconds(stage.seconds) if stage.seconds else "?", BASES[stage.basis])
        for stage in forecast.stages
    ]
    if forecast.seconds is not None:
        rows.append(("in all", format_seconds(forecast.seconds), ""))
    printing.print_table(("stage", "expected", "going by"), rows, right="expected")


def format_cost(amount: float | None) -> str:
    return "unknown" if amount is None else format_usd(amount)
