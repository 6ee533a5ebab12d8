"""`bake`: the bake of a recipe file, without Pulumi."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ami_provider.cli import asking, plan, printing
from ami_provider.life import create_ami
from ami_provider.site import Lineage
from ami_provider.succession import succeed


@click.command(
    "bake",
    epilog=asking.EXIT_CODES,
    help=f"""Bake the AMI of FILE, or take the one that
has its content, and print its ID.

An interrupted bake is gone on with by the same command. The lineage's former AMI stays, as an
earlier one: `prune` removes those. Use a lineage of its own beside Pulumi's.

{plan.FILE_HELP}""",
)
@plan.FILE
@asking.as_json
def command(file: Path, as_json: bool) -> None:
    checked = plan.check_file(file)
    lineage = Lineage(**checked.inputs["lineage"])
    if lineage.urn:
        asking.refuse(f"{file}: lineage.urn is a Pulumi resource's: `pulumi up` bakes that.")
    with asking.acting(), printing.open_progress(err=as_json) as progress:
        for note in checked.notes:
            progress.announce(note)
        outs = create_ami(checked.inputs, report=progress.report, announce=progress.announce)
        earlier = succeed(outs["ami_id"], lineage, asking.open_region(checked.inputs["region"]))
    if as_json:
        asking.print_json(_to_document(outs, earlier))
        return
    click.echo(f"{outs['ami_id']} is ready: {outs['ami_name']} in {outs['region']}.")
    for ami in earlier:
        click.echo(f"{ami} stays as an earlier AMI; `prune` removes it.")


def _to_document(outs: dict[str, Any], earlier: list[str]) -> dict[str, Any]:
    names = (
        "ami_id", "ami_name", "region", "fingerprint", "images", "manifest", "model_checksums",
        "snapshot_ids", "owner_id", "copies",
    )  # fmt: skip
    return {name: outs[name] for name in names if name in outs} | {"earlier": earlier}
