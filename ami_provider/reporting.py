"""Gathers what AWS says of an AMI and its lineage into a report; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from ami_provider import course, tags
from ami_provider.aws import Aws
from ami_provider.contents import ContainerImage
from ami_provider.costs import (
    NETWORK_USD_GB,
    STORAGE_USD_GB_MONTH,
    BreakEven,
    Price,
    get_machine_usd,
)
from ami_provider.explaining import explain
from ami_provider.forecast import get_saved_seconds
from ami_provider.holdings import AmiRecord, HeldAmi, list_amis, list_records
from ami_provider.lookups.asking import ask_all
from ami_provider.lookups.images import get_image
from ami_provider.report_page.facts import Ami, Ancestor, Cost, Part, Report, Stage, Starts
from ami_provider.report_page.figures import bytes_in_words, dollars_in_words
from ami_provider.stages import format_seconds
from ami_provider.timings import Timings

VERIFIED = {
    tags.VERIFIED_YES: "verified",
    tags.VERIFIED_OFF: "not verified, as was asked",
}
NO_TIMINGS = (
    "its tags do not have the whole bake's times: it was cut off and taken up again, or an "
    "earlier version baked it."
)


def get_report(
    aws: Aws, record: AmiRecord, *, price: Price | None, starts: tuple[Starts, ...] = ()
) -> Report:
    """The report on an AMI and its lineage.

    `price` is the builder's machine, `starts` jobs' starts to compare. What cannot be known is
    left out with the reason. Raises `BakeError`.
    """
    ami = record.ami
    line = list_amis(aws, ami.lineage) if ami.lineage else [ami]
    parts, note = find_parts(aws, record)
    return Report(
        ami=_describe(ami),
        made=datetime.now(UTC),
        stages=tuple(list_stages(ami.timings)) if ami.timings else (),
        parts=parts,
        parts_note=note,
        cost=find_cost(ami, price) if price else None,
        starts=starts,
        lineage=tuple(_list_ancestors(list_records(aws, line))),
        manifest=record.manifest or {},
        unknown={
            "stages": NO_TIMINGS,
            "parts": "EC2 does not say how much its snapshots hold.",
            "cost": NO_TIMINGS if price else "the price of the builder's machine is not known.",
            "starts": "no file of jobs' starts was given (--starts).",
        },
    )


def _describe(ami: HeldAmi) -> Ami:
    return Ami(
        id=ami.ami_id,
        name=ami.name,
        region=ami.region,
        state=ami.state,
        created=ami.created,
        fingerprint=ami.fingerprint,
        lineage=ami.lineage,
        is_verified=ami.verified == tags.VERIFIED_YES,
        verified=VERIFIED.get(ami.verified, "not verified yet"),
        snapshot_ids=ami.snapshot_ids,
        volume_gib=ami.size_gib,
        bytes=ami.stored_bytes,
    )


def list_stages(timed: Timings) -> Iterator[Stage]:
    """The stages in their order, by the names that `pulumi up` has for them."""
    for key, seconds in timed.seconds.items():
        yield Stage(course.NAMES.get(key, key), seconds)


def find_parts(aws: Aws, record: AmiRecord) -> tuple[tuple[Part, ...], str]:
    """What is in the AMI, adding up to what its snapshots hold; and how these sizes are known.

    Images count by their compressed layers, as ECR tells; models by size where the manifest has
    it, else all together as their bake noted. The rest is the base system, and what unpacking adds.
    """
    held = record.ami.stored_bytes
    if held is None:
        return (), ""
    manifest = record.manifest or {}
    parts = [*_list_images(aws, record), *_list_models(record)]
    rest = held - sum(part.bytes for part in parts)
    note = (
        f"Its snapshots hold {bytes_in_words(held)}, as EC2 tells. Images count as in the "
        f"registry, compressed; the rest is the base system and what unpacking adds."
    )
    if rest < 0 or not manifest:
        why = "they hold less than the parts have" if rest < 0 else "its tags have no manifest"
        return (Part("all of it", "not told apart", held, why),), note
    return (Part("base system, and unpacking", "base", rest, "the rest"), *parts), note


def _list_images(aws: Aws, record: AmiRecord) -> Iterator[Part]:
    """Container images by digest; together as the bake noted where ECR has one no more."""
    named = [
        ContainerImage(repository=one["repository"], digest=one["digest"])
        for one in (record.manifest or {}).get("images", ())
    ]
    found, faults = ask_all([partial(get_image, one, "images", aws) for one in named])
    if faults or any(one is None or one.size_bytes is None for one in found):
        if record.ami.timings:
            size = round(record.ami.timings.sizes.images)
            yield Part(f"{len(named)} container images", "container image", size, "as baked")
        return
    for one in found:
        assert one is not None
        yield Part(one.label, "container image", one.size_bytes or 0, f"{one.digest[:19]}…")


def _list_models(record: AmiRecord) -> Iterator[Part]:
    models = (record.manifest or {}).get("models", ())
    if all("size_bytes" in one for one in models):
        for one in models:
            name = str(one["destination"]).rpartition("/")[2]
            yield Part(name, "model", int(one["size_bytes"]), str(one["destination"]))
    elif record.ami.timings:
        names = ", ".join(str(one["destination"]).rpartition("/")[2] for one in models)
        names += " (to four digits, as the bake noted)"
        yield Part(f"{len(models)} models", "model", round(record.ami.timings.sizes.models), names)


def find_cost(ami: HeldAmi, price: Price) -> Cost | None:
    """What the AMI's bake and storage cost, and from how many jobs a month on it is worth them."""
    if ami.timings is None:
        return None
    sizes, seconds = ami.timings.sizes, sum(ami.timings.seconds.values())
    held = ami.stored_bytes if ami.stored_bytes is not None else ami.size_gib * course.GIB
    pulled = (sizes.images * course.UNPACKED + sizes.models) / 1e9
    even = BreakEven(
        month_usd=ami.month_usd,
        bake_usd=get_machine_usd(price, seconds),
        saved_s=get_saved_seconds(sizes),
        usd_hour=price.usd_hour,
        network_usd=pulled * NETWORK_USD_GB,
    )
    return Cost(
        bake=even.bake_usd,
        storage_month=even.month_usd,
        month=even.costs_usd,
        saving_job=even.job_usd,
        break_even_jobs=even.jobs,
        basis=(
            f"A bake: {format_seconds(seconds)} of {price} ({price.source}).",
            f"Storage: {held / course.GIB:.3g} GiB at ${STORAGE_USD_GB_MONTH} a GB-month.",
            f"A month: its storage, and {even.bakes_month:g} bake.",
            f"A job's saving: about {format_seconds(even.saved_s)} of the same machine that a pull "
            f"and downloads would take, by their sizes, and "
            f"{dollars_in_words(even.network_usd)} of network.",
        ),
    )


def _list_ancestors(line: Sequence[AmiRecord]) -> Iterator[Ancestor]:
    for record, before in zip(line, [*line[1:], None], strict=True):
        ami, manifest = record.ami, record.manifest
        changes: list[str] = []
        if before and before.manifest is not None and manifest is not None:
            changes = explain(before.manifest, manifest)
        yield Ancestor(
            id=ami.ami_id,
            name=ami.name,
            created=ami.created,
            state=ami.state,
            verified=VERIFIED.get(ami.verified, "not verified yet"),
            users=ami.users or (),
            bytes=ami.stored_bytes,
            storage_month=ami.month_usd,
            bake_seconds=sum(ami.timings.seconds.values()) if ami.timings else None,
            changes=tuple(changes),
        )
