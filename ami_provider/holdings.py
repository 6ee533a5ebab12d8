"""The AMIs that bakes made in a region, as a person asks: whose, since when, used by whom, at
what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from ami_provider import records, tags, timings
from ami_provider.aws import Aws
from ami_provider.claims import read_claim
from ami_provider.costs import get_month_usd
from ami_provider.course import GIB
from ami_provider.errors import bake_error, is_aws_error
from ami_provider.image_state import Image, get_state, list_images
from ami_provider.lookups.existing import BASE
from ami_provider.site import Lineage
from ami_provider.timings import Timings
from ami_provider.uses import find_users

Standing = Literal["current", "earlier", "unowned", "copy"]

BAKED_AMI = "pulumi-python:dynamic/baked_ami:BakedAmi"
"""Pulumi's type of the resource, as it is in URNs."""
AT_ONCE = 200
"""Values in one filter of DescribeSnapshots."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A resource, or a lineage baked without Pulumi, that owns an AMI.

    `key` is the hash in its tag; `lineage` is `project/stack/name` where an AMI of the region tells
    which one has this hash, else "". `since`: when it took the AMI last. `is_earlier`: another AMI
    has replaced this one for it, and it stays for a rollback.
    """

    key: str
    lineage: str
    since: datetime
    is_earlier: bool


@dataclass(frozen=True, kw_only=True)
class HeldAmi:
    """One AMI of a bake. Sizes: `size_gib` of its volumes, `stored_bytes` what its snapshots hold
    where EC2 tells it, which is what is billed.

    `lineage` is whose bake made it; `users` are sentences (`machine i-… (running)`), None where
    nobody asked. `verified` is `yes`, `off` or "" (not checked yet).
    """

    ami_id: str
    name: str
    region: str
    state: str
    standing: Standing
    verified: str
    fingerprint: str
    lineage: str
    created: datetime
    base_ami: str
    size_gib: int
    stored_bytes: int | None
    snapshot_ids: tuple[str, ...]
    holders: tuple[Holder, ...]
    timings: Timings | None
    users: tuple[str, ...] | None = None

    @property
    def month_usd(self) -> float:
        """Dollars a month: what is stored, or the whole volumes where that is not known."""
        return get_month_usd(self.stored_bytes / GIB if self.stored_bytes else self.size_gib)


@dataclass(frozen=True, kw_only=True)
class AmiRecord:
    """One AMI and what its tags keep of its bake.

    `manifest` is None where the tags do not have it (another version baked it, or it did not fit):
    it is then only in the stack's outputs and on a machine of the AMI, in `/etc/baked-ami`. `logs`
    is a place in S3, or "".
    """

    ami: HeldAmi
    manifest: dict[str, Any] | None
    logs: str


def list_amis(aws: Aws, lineage: str = "", *, with_users: bool = True) -> list[HeldAmi]:
    """The account's AMIs of bakes in the region, the newest first; copies of others' regions too.

    `lineage` limits it to `project`, `project/stack` or `project/stack/name`: baked for it, or
    owned by it. Raises `BakeError`.
    """
    images = list_images(aws, {"Name": "tag-key", "Values": [tags.FINGERPRINT, tags.SOURCE]})
    snapshots = _describe_snapshots(aws, [s for image in images for s in image.snapshot_ids])
    known = name_holders(image.tags.get(tags.LINEAGE, "") for image in images)
    amis = [_to_held(aws.region, image, snapshots, known) for image in images]
    wanted = [ami for ami in amis if not lineage or _is_of(ami, lineage)]
    if with_users:
        by_id = {image.id: image for image in images}
        wanted = [_with_users(aws, ami, by_id, wanted) for ami in wanted]
    return sorted(wanted, key=_get_age, reverse=True)


def _get_age(ami: HeldAmi) -> tuple[datetime, datetime, str]:
    """What sorts AMIs by age: EC2 tells whole seconds, so owners' turns decide within one."""
    return ami.created, max((one.since for one in ami.holders), default=ami.created), ami.ami_id


def find_ami(aws: Aws, image_id: str) -> AmiRecord | None:
    """An AMI of this account's bakes with what is kept of its bake; None where there is none.

    Another account's AMI is None too: its tags cannot be seen. Raises `BakeError`.
    """
    image = get_state(aws, image_id)
    if image is None or not {tags.FINGERPRINT, tags.SOURCE} & image.tags.keys():
        return None
    snapshots = _describe_snapshots(aws, list(image.snapshot_ids))
    known = name_holders([image.tags.get(tags.LINEAGE, "")])
    ami = _to_held(aws.region, image, snapshots, known)
    return _to_record(_with_users(aws, ami, {image.id: image}, [ami]), snapshots)


def list_records(aws: Aws, amis: Iterable[HeldAmi]) -> list[AmiRecord]:
    """What the tags keep of these AMIs' bakes, in their order. Raises `BakeError`."""
    listed = list(amis)
    snapshots = _describe_snapshots(aws, [s for ami in listed for s in ami.snapshot_ids])
    return [_to_record(ami, snapshots) for ami in listed]


def _to_record(ami: HeldAmi, snapshots: Mapping[str, Any]) -> AmiRecord:
    kept: dict[str, str] = {}
    for one in ami.snapshot_ids:
        kept |= tags.to_mapping(snapshots.get(one, {}).get("Tags"))
    return AmiRecord(ami=ami, manifest=records.read_manifest(kept), logs=kept.get(records.LOGS, ""))


def list_lineages(amis: Iterable[HeldAmi]) -> list[str]:
    """Every lineage that these AMIs were baked for or are owned by."""
    found = {ami.lineage for ami in amis} | {h.lineage for ami in amis for h in ami.holders}
    return sorted(found - {""})


def read_lineages(path: str) -> list[Lineage]:
    """Who `project/stack/name` can be: a resource of a Pulumi program, at its top, or a lineage
    that was baked without Pulumi. Raises ValueError for a path of another form."""
    parts = path.split("/")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{path!r} is not a lineage such as baked-ami/dev/gpu.")
    project, stack, name = parts
    urn = f"urn:pulumi:{stack}::{project}::{BAKED_AMI}::{name}"
    return [Lineage(project=project, stack=stack, name=name, urn=one) for one in (urn, "")]


def name_holders(paths: Iterable[str]) -> dict[str, str]:
    """Lineage by the hash that its owner tags have, for lineages that are known by name."""
    named: dict[str, str] = {}
    for path in set(paths):
        try:
            lineages = read_lineages(path)
        except ValueError:
            continue
        for lineage in lineages:
            named[tags.get_owner_key(lineage).removeprefix(tags.OWNER)] = path
    return named


def _to_held(
    region: str, image: Image, snapshots: Mapping[str, Any], known: Mapping[str, str]
) -> HeldAmi:
    sizes = [snapshots.get(one, {}).get("FullSnapshotSizeInBytes") for one in image.snapshot_ids]
    holders = tuple(
        _to_holder(key.removeprefix(tags.OWNER), text, known)
        for key, text in sorted(tags.find_owners(image.tags).items())
    )
    return HeldAmi(
        ami_id=image.id,
        name=image.name,
        region=region,
        state=image.state,
        standing=_get_standing(image, holders),
        verified=image.verified,
        fingerprint=image.tags.get(tags.FINGERPRINT, ""),
        lineage=image.tags.get(tags.LINEAGE, ""),
        created=datetime.fromisoformat(image.created).astimezone(UTC),
        base_ami=image.tags.get(BASE, ""),
        size_gib=image.size_gib,
        stored_bytes=sum(map(int, filter(None, sizes))) if all(sizes) and sizes else None,
        snapshot_ids=image.snapshot_ids,
        holders=holders,
        timings=timings.read_text(image.tags.get(timings.KEY, "")),
    )


def _to_holder(key: str, text: str, known: Mapping[str, str]) -> Holder:
    claim = read_claim(text)
    since = datetime.fromtimestamp(claim.turn, UTC)
    return Holder(key=key, lineage=known.get(key, ""), since=since, is_earlier=claim.is_earlier)


def _get_standing(image: Image, holders: tuple[Holder, ...]) -> Standing:
    if tags.SOURCE in image.tags:
        return "copy"
    if not holders:
        return "unowned"
    return "earlier" if all(holder.is_earlier for holder in holders) else "current"


def _is_of(ami: HeldAmi, lineage: str) -> bool:
    asked = f"{lineage.rstrip('/')}/"
    paths = [ami.lineage, *(holder.lineage for holder in ami.holders)]
    return any(f"{path}/".startswith(asked) for path in paths)


def _with_users(
    aws: Aws, ami: HeldAmi, images: Mapping[str, Image], held: Iterable[HeldAmi]
) -> HeldAmi:
    parts = [*ami.lineage.split("/"), "", "", ""]
    lineage = Lineage.model_construct(project=parts[0], stack=parts[1], name=parts[2], urn="")
    same = [one.ami_id for one in held if one.lineage == ami.lineage]
    found = find_users(aws, images[ami.ami_id], lineage, same)
    return replace(ami, users=tuple(user.text for user in found))


def _describe_snapshots(aws: Aws, ids: list[str]) -> dict[str, Any]:
    """The account's own snapshots of these IDs, by ID; those that are gone are left out."""
    found: dict[str, Any] = {}
    try:
        for at in range(0, len(ids), AT_ONCE):
            filters: Any = [{"Name": "snapshot-id", "Values": ids[at : at + AT_ONCE]}]
            answer = aws.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)
            found |= {one["SnapshotId"]: one for one in answer["Snapshots"]}
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look at snapshots", "ec2:DescribeSnapshots") from error
    return found
