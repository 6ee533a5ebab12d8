"""How an AMI stands towards others: shared, deprecated, protected; seen, and made as wished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error, is_not_found
from ami_provider.image_state import Image, read_image
from ami_provider.publication import read_time, time_text
from ami_provider.wishes import Wishes

SOON = timedelta(minutes=2)
"""EC2 takes no deprecation date in the past; one that has passed becomes this far from now."""


@dataclass(frozen=True)
class Standing:
    """An AMI at one moment. `shared_with` has account IDs, `all`, or ARNs of organizations."""

    image: Image
    created: datetime
    deprecate_at: str | None
    shared_with: frozenset[str]
    storage: dict[str, frozenset[str]]


def find_standing(aws: Aws, image_id: str) -> Standing | None:
    """The account's own AMI as EC2 has it; None if it is gone."""
    action = "ec2:DescribeImages"
    try:
        found = aws.ec2.describe_images(
            ImageIds=[image_id], IncludeDeprecated=True, IncludeDisabled=True
        )["Images"]
        if not found:
            return None
        action = "ec2:DescribeImageAttribute"
        shared = aws.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    except Exception as error:
        if is_not_found(error):
            return None
        if not is_aws_error(error):
            raise
        raise bake_error(error, f"could not look at {image_id}", action) from error
    image, until = read_image(found[0]), found[0].get("DeprecationTime")
    return Standing(
        image,
        read_time(found[0]["CreationDate"]),
        time_text(read_time(until)) if until else None,
        frozenset(_name(one) for one in shared.get("LaunchPermissions", ())),
        {snapshot: _find_readers(aws, snapshot) for snapshot in image.snapshot_ids},
    )


def _find_readers(aws: Aws, snapshot: str) -> frozenset[str]:
    """The accounts that may make volumes, and so copies, of a snapshot."""
    try:
        found = aws.ec2.describe_snapshot_attribute(
            SnapshotId=snapshot, Attribute="createVolumePermission"
        )
    except Exception as error:
        if is_not_found(error):
            return frozenset()
        if not is_aws_error(error):
            raise
        action = "ec2:DescribeSnapshotAttribute"
        raise bake_error(error, f"could not look at {snapshot}", action) from error
    return frozenset(_name(one) for one in found.get("CreateVolumePermissions", ()))


def find_drift(standing: Standing, wanted: Wishes) -> Iterator[str]:
    """What is otherwise than its owners ask for, in words. What nobody asked for is left out."""
    if standing.image.state == "disabled":
        yield "it is disabled"
    if wanted.accounts is not None:
        for account in sorted(wanted.accounts - standing.shared_with):
            yield f"it is not shared with {account}"
        for account in sorted(standing.shared_with - wanted.accounts):
            yield f"it is shared with {account}, which nobody asked for"
    for snapshot, readers in standing.storage.items():
        for account in sorted(wanted.storage - readers):
            yield f"its snapshot {snapshot} is not shared with {account}"
    if wanted.deprecate_at and not _is_due(wanted.deprecate_at, standing.deprecate_at):
        has = f"deprecated from {standing.deprecate_at}" if standing.deprecate_at else "not at all"
        yield f"it is to be deprecated from {wanted.deprecate_at}, and is {has}"
    is_protected = standing.image.is_protected
    if wanted.protected is not None and wanted.protected != is_protected:
        yield f"it is {'' if is_protected else 'not '}protected against deregistration"


def settle(aws: Aws, standing: Standing, before: Wishes, after: Wishes) -> Standing:
    """Make the AMI as its owners ask; what they asked for `before` and no longer do, goes.

    May be repeated. Gives how it stands then. Raises `BakeError`.
    """
    if standing.image.state == "disabled":
        _act(aws, standing.image.id, "EnableImage")
    standing = _share(aws, standing, before, after)
    standing = _share_storage(aws, standing, before, after)
    standing = _deprecate(aws, standing, before, after)
    return _protect(aws, standing, before, after)


def _share(aws: Aws, standing: Standing, before: Wishes, after: Wishes) -> Standing:
    have = standing.shared_with
    if after.accounts is not None:
        add, remove = after.accounts - have, have - after.accounts
    else:
        add, remove = frozenset[str](), have & (before.accounts or frozenset())
    if add or remove:
        change = _change(add, remove)
        _act(aws, standing.image.id, "ModifyImageAttribute", LaunchPermission=change)
    return replace(standing, shared_with=have - remove | add)


def _share_storage(aws: Aws, standing: Standing, before: Wishes, after: Wishes) -> Standing:
    made: dict[str, frozenset[str]] = {}
    for snapshot, have in standing.storage.items():
        add, remove = after.storage - have, have & before.storage - after.storage
        if add or remove:
            change = _change(add, remove)
            _act(
                aws,
                standing.image.id,
                "ModifySnapshotAttribute",
                SnapshotId=snapshot,
                CreateVolumePermission=change,
            )
        made[snapshot] = have - remove | add
    return replace(standing, storage=made)


def _deprecate(aws: Aws, standing: Standing, before: Wishes, after: Wishes) -> Standing:
    wanted, has = after.deprecate_at, standing.deprecate_at
    if wanted is None:
        if before.deprecate_at and has:
            _act(aws, standing.image.id, "DisableImageDeprecation")
            return replace(standing, deprecate_at=None)
        return standing
    if _is_due(wanted, has):
        return standing
    moment = max(read_time(wanted), datetime.now(UTC) + SOON)
    _act(aws, standing.image.id, "EnableImageDeprecation", DeprecateAt=moment)
    return replace(standing, deprecate_at=time_text(moment))


def _is_due(wanted: str, has: str | None) -> bool:
    """Whether a date is as wanted; a wanted one that has passed counts as met by any such one."""
    if has is None:
        return False
    return wanted == has or max(read_time(wanted), read_time(has)) <= datetime.now(UTC) + SOON


def _protect(aws: Aws, standing: Standing, before: Wishes, after: Wishes) -> Standing:
    wanted = after.protected
    if wanted is None and before.protected:
        wanted = False
    if wanted is None or wanted == standing.image.is_protected:
        return standing
    verb = "Enable" if wanted else "Disable"
    _act(aws, standing.image.id, f"{verb}ImageDeregistrationProtection")
    return replace(standing, image=replace(standing.image, is_protected=wanted))


def _act(aws: Aws, image_id: str, action: str, **parameters: Any) -> None:
    """Call an action of EC2's on the AMI, or on its snapshot if one is given."""
    if "SnapshotId" not in parameters:
        parameters["ImageId"] = image_id
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")
    try:
        getattr(aws.ec2, name)(**parameters)
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(
            error,
            f"{image_id} in {aws.region} could not be published",
            f"ec2:{action}",
            "Correct `publication` or the permission; running `pulumi up` again does the rest.",
        ) from error


def _name(permission: Any) -> str:
    """`{"UserId": "123456789012"}` -> `123456789012`."""
    return str(next(iter(permission.values())))


def _change(add: frozenset[str], remove: frozenset[str]) -> dict[str, list[dict[str, str]]]:
    """A change of permissions as EC2 takes it."""
    named = {"Add": sorted(add), "Remove": sorted(remove)}
    return {kind: [_permission(one) for one in names] for kind, names in named.items() if names}


def _permission(name: str) -> dict[str, str]:
    if name == "all":
        return {"Group": "all"}
    if name.startswith("arn:"):
        return {"OrganizationalUnitArn" if ":ou/" in name else "OrganizationArn": name}
    return {"UserId": name}
