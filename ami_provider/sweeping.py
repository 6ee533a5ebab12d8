"""What bakes left behind in a region: found by tag and age, never in use, and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error, is_not_found
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image, get_state, read_image
from ami_provider.site import Lineage
from ami_provider.uses import find_users
from ami_provider.wishes import read_all

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

T = TypeVar("T")
Kind = Literal["machine", "volume", "image", "snapshot"]

_MADE: FilterTypeDef = {"Name": "tag-key", "Values": [tags.FINGERPRINT, tags.SOURCE]}
"""What every AMI and snapshot of ours has: an own one the one tag, a copy the other."""

UP = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True)
class Leftover:
    """One thing that a bake made and nobody needs. `spared` says why it stays, if it does."""

    kind: Kind
    id: str
    since: datetime
    lineage: str
    what: str
    spared: str = ""
    image: Image | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.id} of {self.lineage or '(no lineage)'}: {self.what}"


def find_leftovers(aws: Aws, older_than: timedelta, *, lineage: str = "") -> list[Leftover]:
    """Machines, volumes, AMIs and snapshots of bakes that are older than that, oldest first.

    What is younger is not listed. What is in use is listed as spared, with who uses it: a machine
    that runs a command or is being imaged, an AMI that is launched from or copied. An AMI that
    somebody owns, and a copy that the owners of its AMI in another region ask for, are none.
    `lineage` limits it to `project`, `project/stack` or `project/stack/name`. Ages go by AWS's
    clock. Raises `BakeError`.
    """
    now = get_time(aws)
    images = _list_images(aws)
    found = [
        *_find_machines(aws, images),
        *_find_images(aws, images),
        *_find_volumes(aws),
        *_find_snapshots(aws, images),
    ]
    return sorted(
        (one for one in found if _is_old(one, now, older_than) and _is_of(one, lineage)),
        key=lambda one: (one.since, one.id),
    )


def remove_leftover(aws: Aws, leftover: Leftover) -> None:
    """Remove it for good; nothing happens if it is gone. Raises `BakeError`."""
    try:
        if leftover.kind == "machine":
            aws.ec2.terminate_instances(InstanceIds=[leftover.id])
        elif leftover.kind == "volume":
            aws.ec2.delete_volume(VolumeId=leftover.id)
        elif leftover.kind == "snapshot":
            aws.ec2.delete_snapshot(SnapshotId=leftover.id)
        else:
            assert leftover.image is not None
            delete_image(aws, leftover.image)
    except Exception as error:
        if is_not_found(error):
            return
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not remove {leftover}", _REMOVES[leftover.kind]) from error


_REMOVES = {
    "machine": "ec2:TerminateInstances",
    "volume": "ec2:DeleteVolume",
    "snapshot": "ec2:DeleteSnapshot",
    "image": "ec2:DeregisterImage",
}


def get_time(aws: Aws) -> datetime:
    """The time by AWS's clock, to the second. Also shows whether the credentials are good."""
    answer: Any = _ask(lambda: aws.sts.get_caller_identity(), "sts:GetCallerIdentity")
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def _is_old(one: Leftover, now: datetime, older_than: timedelta) -> bool:
    return now - one.since >= older_than


def _is_of(one: Leftover, lineage: str) -> bool:
    return not lineage or f"{one.lineage}/".startswith(f"{lineage.rstrip('/')}/")


def _list_images(aws: Aws) -> list[tuple[Image, datetime]]:
    """Every AMI of a bake in the account, in any state, with the time it was begun."""
    pages = _ask(
        lambda: list(
            aws.ec2.get_paginator("describe_images").paginate(
                Owners=["self"],
                Filters=[_MADE],
                IncludeDeprecated=True,
                IncludeDisabled=True,
            )
        ),
        "ec2:DescribeImages",
    )
    return [
        (read_image(found), datetime.fromisoformat(found["CreationDate"]).astimezone(UTC))
        for page in pages
        for found in page["Images"]
    ]


def _find_machines(aws: Aws, images: list[tuple[Image, datetime]]) -> Iterator[Leftover]:
    filters: list[FilterTypeDef] = [
        {"Name": "tag-key", "Values": [tags.FINGERPRINT]},
        {"Name": f"tag:{tags.ROLE}", "Values": ["builder", "verifier", "kept"]},
        {"Name": "instance-state-name", "Values": UP},
    ]
    pages = _ask(
        lambda: list(aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)),
        "ec2:DescribeInstances",
    )
    for machine in (m for page in pages for r in page["Reservations"] for m in r["Instances"]):
        noted = tags.to_mapping(machine.get("Tags"))
        yield Leftover(
            kind="machine",
            id=machine["InstanceId"],
            since=machine["LaunchTime"],
            lineage=noted.get(tags.LINEAGE, ""),
            what=f"{noted[tags.ROLE]}, {machine['InstanceType']}, {machine['State']['Name']}",
            spared=_why_busy(aws, machine, noted, images),
        )


def _why_busy(
    aws: Aws,
    machine: InstanceTypeDef,
    noted: dict[str, str],
    images: list[tuple[Image, datetime]],
) -> str:
    """Who works with a machine of a bake just now; "" for nobody."""
    if machine["State"]["Name"] in ("stopping", "stopped"):
        return ""
    for image, _ in images:
        same = image.tags.get(tags.FINGERPRINT) == noted[tags.FINGERPRINT]
        if image.state == "pending" and same:
            return f"{image.id} is being made of it"
    running = _ask(
        lambda: aws.ssm.list_commands(
            InstanceId=machine["InstanceId"], Filters=[{"key": "Status", "value": "InProgress"}]
        )["Commands"],
        "ssm:ListCommands",
    )
    return f"it runs the command {running[0].get('CommandId')}" if running else ""


def _find_images(aws: Aws, images: list[tuple[Image, datetime]]) -> Iterator[Leftover]:
    """AMIs that no stack owns: of a bake that never came to its end, or copies of one gone."""
    for image, since in images:
        if image.state == "pending" or _is_wanted(aws, image):
            continue
        yield Leftover(
            kind="image",
            id=image.id,
            since=since,
            lineage=image.tags.get(tags.LINEAGE, ""),
            what=f"{image.name}, {image.state}, {_describe(image)}",
            spared=_why_used(aws, image),
            image=image,
        )


def _is_wanted(aws: Aws, image: Image) -> bool:
    """Whether a stack owns it, or the AMI that it is a copy of is there and asks for it."""
    region, _, original = image.tags.get(tags.SOURCE, "").partition("/")
    if not region:
        return bool(tags.find_owners(image.tags))
    found = get_state(aws.at(region), original)
    return found is not None and aws.region in read_all(found.tags).regions


def _describe(image: Image) -> str:
    if source := image.tags.get(tags.SOURCE):
        return f"a copy of {source}"
    return "verified" if image.verified == tags.VERIFIED_YES else "not verified"


def _why_used(aws: Aws, image: Image) -> str:
    parts = [*image.tags.get(tags.LINEAGE, "").split("/"), "", "", ""]
    # A copy's tag names none, and one of 256 characters was cut: neither is refused here.
    lineage = Lineage.model_construct(project=parts[0], stack=parts[1], name=parts[2], urn="")
    return "; ".join(user.text for user in find_users(aws, image, lineage, held=[]))


def _find_volumes(aws: Aws) -> Iterator[Leftover]:
    """Disks that no machine has any more: they go with theirs, but for a failure of AWS's."""
    filters: list[FilterTypeDef] = [
        {"Name": "tag-key", "Values": [tags.FINGERPRINT]},
        {"Name": "status", "Values": ["available", "error"]},
    ]
    pages = _ask(
        lambda: list(aws.ec2.get_paginator("describe_volumes").paginate(Filters=filters)),
        "ec2:DescribeVolumes",
    )
    for volume in (v for page in pages for v in page["Volumes"]):
        yield Leftover(
            kind="volume",
            id=volume["VolumeId"],
            since=volume["CreateTime"],
            lineage=tags.to_mapping(volume.get("Tags")).get(tags.LINEAGE, ""),
            what=f"{volume['Size']} GiB, on no machine",
        )


def _find_snapshots(aws: Aws, images: list[tuple[Image, datetime]]) -> Iterator[Leftover]:
    """Snapshots whose AMI is gone; one that an AMI still has goes only with it."""
    behind = {snapshot for image, _ in images for snapshot in image.snapshot_ids}
    pages = _ask(
        lambda: list(
            aws.ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=[_MADE])
        ),
        "ec2:DescribeSnapshots",
    )
    for snapshot in (s for page in pages for s in page["Snapshots"]):
        noted = tags.to_mapping(snapshot.get("Tags"))
        making = [
            image.id
            for image, _ in images
            if image.state == "pending" and _get_content(image.tags) == _get_content(noted)
        ]
        if snapshot["SnapshotId"] not in behind:
            yield Leftover(
                kind="snapshot",
                id=snapshot["SnapshotId"],
                since=snapshot["StartTime"],
                lineage=noted.get(tags.LINEAGE, ""),
                what=f"{snapshot['VolumeSize']} GiB, behind no AMI",
                spared=f"{making[0]} is being made of it" if making else "",
            )


def _get_content(noted: Mapping[str, str]) -> str:
    """What an AMI and its snapshots have in common: the fingerprint, or what it is a copy of."""
    return noted.get(tags.SOURCE) or noted.get(tags.FINGERPRINT, "")


def _ask(call: Callable[[], T], action: str) -> T:
    try:
        return call()
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look for leftovers", action) from error
