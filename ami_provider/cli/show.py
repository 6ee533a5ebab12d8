"""`show`: one AMI whole, or what differs between two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from ami_provider.aws import Aws
from ami_provider.cli import asking, listing, printing
from ami_provider.costs import format_usd
from ami_provider.errors import is_not_found
from ami_provider.explaining import explain
from ami_provider.holdings import AmiRecord, find_ami
from ami_provider.stages import format_seconds
from ami_provider.timings import Timings

NOT_KEPT = (
    "its snapshots' tags do not have it (another version baked it, or it did not fit). It is in "
    "the stack's outputs (`pulumi stack output manifest`), and on each machine of the AMI in "
    "/etc/baked-ami/manifest.json."
)
VERIFIED = {
    "yes": "booted on a machine of its own and checked",
    "off": "not checked, as was asked (site.verify: off)",
    "": "not checked yet: a bake that was cut off goes on with it",
}


@click.command("show", epilog=asking.EXIT_CODES)
@click.argument("ami")
@click.option("--diff", "other", metavar="AMI", help="Only what is different in this one.")
@asking.region
@asking.as_json
def command(ami: str, other: str | None, region: str, as_json: bool) -> None:
    """Show an AMI of a bake: its manifest, verification, logs, timings, owners, users, cost."""
    with asking.looking(region):
        aws = asking.open_region(region)
        record = get_record(ami, aws)
        others = get_record(other, aws) if other else None
    if others is not None:
        _show_difference(record, others, as_json=as_json)
    elif as_json:
        asking.print_json(to_document(record))
    else:
        _show(record)


def get_record(ami: str, aws: Aws) -> AmiRecord:
    """The AMI, or the end of the command with one sentence on why it is none of ours."""
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", ami):
        asking.refuse(f"{ami!r} is not an AMI ID such as ami-0a1b2c3d4e5f60718.")
    record = find_ami(aws, ami)
    if record is None:
        asking.refuse(_why_none(ami, aws))
    return record


def _why_none(ami: str, aws: Aws) -> str:
    owner = _find_owner(ami, aws)
    if owner is None:
        return f"there is no AMI {ami} in {aws.region}. Correct the ID or the region."
    if owner != aws.sts.get_caller_identity()["Account"]:
        return (
            f"{ami} belongs to account {owner}: its tags cannot be seen from here. Ask with that "
            f"account's credentials."
        )
    return f"{ami} was not baked by this program: it has no tag baked-ami:fingerprint."


def _find_owner(ami: str, aws: Aws) -> str | None:
    try:
        found = aws.ec2.describe_images(
            ImageIds=[ami], IncludeDeprecated=True, IncludeDisabled=True
        )["Images"]
    except Exception as error:
        if is_not_found(error):
            return None
        raise
    return str(found[0]["OwnerId"]) if found else None


def to_document(record: AmiRecord) -> dict[str, Any]:
    """What `--json` prints."""
    plain = listing.to_plain(record.ami)
    return plain | {"manifest": record.manifest, "logs": record.logs}


def _show(record: AmiRecord) -> None:
    ami = record.ami
    facts = {
        "AMI": f"{ami.ami_id} ({ami.state}) in {ami.region}",
        "name": ami.name,
        "lineage": ami.lineage,
        "baked": f"{ami.created:%Y-%m-%d %H:%M} UTC",
        "standing": ami.standing,
        "owners": listing.tell_owners(ami),
        "used by": "\n".join(ami.users or ()) or "nothing",
        "verified": VERIFIED.get(ami.verified, ami.verified),
        "size": f"{listing.format_size(ami)} of {ami.size_gib} GiB",
        "cost": f"{format_usd(ami.month_usd)} a month",
        "snapshots": ", ".join(ami.snapshot_ids),
        "fingerprint": ami.fingerprint,
        "base AMI": ami.base_ami,
        "logs": record.logs or "not kept (site.logs keeps them in S3)",
    }
    printing.print_facts(facts)
    if ami.timings:
        click.echo("")
        printing.print_table(("stage", "took"), _list_timings(ami.timings), right="took")
    click.echo("")
    if record.manifest is None:
        click.echo(f"manifest: {NOT_KEPT}")
    else:
        click.echo("manifest:")
        for line in _tell_manifest(record.manifest):
            click.echo(f"  {line}")


def _list_timings(timings: Timings) -> list[tuple[str, str]]:
    from ami_provider.course import NAMES

    rows = [(NAMES.get(key, key), format_seconds(s)) for key, s in timings.seconds.items()]
    return [*rows, ("in all", format_seconds(sum(timings.seconds.values())))]


def _tell_manifest(manifest: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that is in it; `--json` has it whole."""
    base = manifest.get("base", {})
    yield f"base AMI {base.get('ami_id')} ({base.get('name')})"
    for image in manifest.get("images", []):
        yield f"image {image['repository']}@{image['digest']}"
    for model in manifest.get("models", []):
        known = {k: v for k, v in model.items() if k not in ("destination", "source")}
        yield f"model {model['destination']}: {_join(known)}"
    for step in manifest.get("extra_steps", []):
        yield f"extra step {step['name']}: sha256 {step['sha256']}"
    told = ("base", "images", "models", "extra_steps")
    for key, value in manifest.items():
        if key not in told:
            yield f"{key.replace('_', ' ')}: {_join(value) if isinstance(value, dict) else value}"


def _join(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in values.items() if value != {})


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_difference(record: AmiRecord, other: AmiRecord, *, as_json: bool) -> None:
    for one in (record, other):
        if one.manifest is None:
            asking.refuse(f"the manifest of {one.ami.ami_id} is not known here: {NOT_KEPT}")
    lines = explain(record.manifest or {}, other.manifest or {})
    if as_json:
        asking.print_json({"from": record.ami.ami_id, "to": other.ami.ami_id, "differences": lines})
        return
    if not lines:
        click.echo(f"{record.ami.ami_id} and {other.ami.ami_id} have the same content.")
        return
    click.echo(f"from {record.ami.ami_id} to {other.ami.ami_id}:")
    for line in lines:
        click.echo(f"  {line}")
