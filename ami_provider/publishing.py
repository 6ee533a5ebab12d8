"""Publishes an AMI as its owners ask: shared, copied, deprecated, protected, and all taken back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.copies import delete_copy, find_copies, start_copy, wait_until_copied
from ami_provider.errors import BakeError, lacks_credentials
from ami_provider.image_state import Image, remove_tags, set_tags
from ami_provider.publication import Publication
from ami_provider.site import Lineage
from ami_provider.standing import Standing, find_drift, find_standing, settle
from ami_provider.wishes import (
    NONE,
    Wishes,
    carry,
    find_record,
    merge,
    read_all,
    read_owner,
    to_tags,
    to_wishes,
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Published:
    """How an AMI and its copies stand; `drift` says what is otherwise than its owners ask."""

    copies: dict[str, str]
    state: dict[str, Any]
    drift: tuple[str, ...] = ()

    def to_outputs(self) -> dict[str, Any]:
        return {"copies": self.copies, "published": self.state, "drift": list(self.drift)}


UNPUBLISHED = Published({}, {})


def publish(
    image_id: str,
    asked: Publication | None,
    *,
    lineage: Lineage,
    aws: Aws,
    report: Say,
    timeout_s: float,
    user_tags: Mapping[str, str],
) -> Published:
    """Make the AMI and its copies as this owner asks, beside what its other owners ask.

    What this owner asked for before, and no longer does, is taken back unless another one wants
    it. What is asked for is written into the AMI's tags first and struck out of them last, so that
    a run which breaks off anywhere is completed by the next one. Copies are available when this
    returns. Raises `BakeError`.
    """
    found = find_standing(aws, image_id)
    if found is None:
        raise BakeError(f"the AMI {image_id} is gone", "", "Run `pulumi refresh`, then try again.")
    key, named = tags.get_owner_key(lineage), found.image.tags
    mine, old = to_wishes(asked, found.created), read_owner(named, key)
    before = read_all(named)
    others = read_all(_without(named, key))
    after = merge(others, mine)
    named = _record(aws, found.image, key, carry(mine, old))
    made = settle(aws, found, before, after)
    started = _start(aws, found.image, asked, others, lineage, user_tags)
    copies = _complete(aws, started, before, after, report, timeout_s)
    for region, copy in find_copies(aws, replace(found.image, tags=named)):
        if region not in after.regions:
            report(f"deleting the copy in {region}")
            delete_copy(aws.at(region), copy, lineage)
    _record(aws, replace(found.image, tags=named), key, mine)
    return Published(copies, to_state(made) if after != NONE else {})


@contextmanager
def copying(
    image_id: str,
    asked: Publication,
    *,
    lineage: Lineage,
    aws: Aws,
    report: Say,
    user_tags: Mapping[str, str],
) -> Iterator[None]:
    """Begin the copies that are asked for; they are on their way while the block checks the AMI.

    Nothing else of it is published, and they are not waited for. If the block fails, they are gone
    before its error goes on, but for those that another owner asks for too.
    """
    found = find_standing(aws, image_id)
    if found is None or not asked.copies:
        yield
        return
    key, named = tags.get_owner_key(lineage), found.image.tags
    old, others = read_owner(named, key), read_all(_without(named, key))
    mine = Wishes(regions=frozenset(copy.region for copy in asked.copies))
    image = replace(found.image, tags=_record(aws, found.image, key, carry(mine, old)))
    try:
        _start(aws, image, asked, others, lineage, user_tags)
        yield
    except Exception as error:
        if not lacks_credentials(error):
            _end(aws, image, mine.regions - others.regions - old.regions, lineage, report)
            with suppress(BakeError):  # The AMI may be gone.
                _record(aws, image, key, old)
        raise


def _start(
    aws: Aws,
    image: Image,
    asked: Publication | None,
    others: Wishes,
    lineage: Lineage,
    user_tags: Mapping[str, str],
) -> dict[str, Image]:
    """The copies that are asked for, there or on their way, by region."""
    keys = {copy.region: copy.encryption_key for copy in asked.copies} if asked else {}
    return {
        region: start_copy(
            aws,
            image,
            region,
            key=keys[region],
            user_tags=user_tags,
            lineage=lineage,
            shared=region in others.regions,
        )
        for region in sorted(keys)
    }


def _end(aws: Aws, image: Image, regions: Collection[str], lineage: Lineage, report: Say) -> None:
    """Delete copies that were begun; a failure is told, and never hides the one before it."""
    for region, copy in find_copies(aws, image):
        if region in regions:
            try:
                delete_copy(aws.at(region), copy, lineage)
            except BakeError as error:
                report(f"could not delete the copy {copy.id} in {region}: {error}")


def withdraw(image_id: str, *, lineage: Lineage, aws: Aws, report: Say) -> None:
    """Take back what this owner asked of an AMI that others go on owning. May be repeated."""
    if find_standing(aws, image_id) is not None:
        publish(image_id, None, lineage=lineage, aws=aws, report=report, timeout_s=0, user_tags={})


def _complete(
    aws: Aws,
    started: Mapping[str, Image],
    before: Wishes,
    after: Wishes,
    report: Say,
    timeout_s: float,
) -> dict[str, str]:
    """Wait for the copies, then share, deprecate and protect them as the AMI; IDs by region."""
    for region, copy in started.items():
        there = aws.at(region)
        if copy.state == "pending":
            report(f"copying to {region}")
        wait_until_copied(there, copy, timeout_s=timeout_s)
        standing = find_standing(there, copy.id)
        if standing is not None:
            settle(there, standing, before, after)
    return {region: copy.id for region, copy in started.items()}


def _record(aws: Aws, image: Image, key: str, mine: Wishes) -> dict[str, str]:
    """Write one owner's wishes into the AMI's tags; gives the tags it has then."""
    old, new = find_record(image.tags, key), to_tags(mine, key)
    if new != old and new:
        set_tags(aws, (image.id,), new)
    if old.keys() - new.keys():
        remove_tags(aws, image.id, *sorted(old.keys() - new.keys()))
    return _without(image.tags, key) | new


def _without(named: Mapping[str, str], key: str) -> dict[str, str]:
    record = find_record(named, key)
    return {name: value for name, value in named.items() if name not in record}


def to_state(standing: Standing) -> dict[str, Any]:
    """What programs see of how an AMI stands."""
    return {
        "deprecate_at": standing.deprecate_at or "",
        "deregistration_protection": standing.image.is_protected,
        "shared_with": sorted(standing.shared_with),
    }


def observe(
    image: Image, asked: Publication | None, known: Mapping[str, str], *, lineage: Lineage, aws: Aws
) -> Published:
    """How the AMI and its copies stand now. `known` are the copies of the state, by region.

    Asks nothing where nobody asked for anything.
    """
    key = tags.get_owner_key(lineage)
    if asked is None and not known and read_all(image.tags) == NONE:
        return UNPUBLISHED
    found = find_standing(aws, image.id)
    if found is None:
        left = find_copies(aws, image, known)
        return Published({region: copy.id for region, copy in left}, {})
    mine = to_wishes(asked, found.created)
    wanted = merge(read_all(_without(found.image.tags, key)), mine)
    drift = list(find_drift(found, wanted))
    copies = dict(find_copies(aws, found.image, {*known, *mine.regions}))
    for region in sorted(mine.regions):
        drift += _copy_drift(aws, region, copies.get(region), wanted)
    drift += [f"there is a copy in {region} that nobody asked for"
              for region in sorted(copies.keys() - wanted.regions)]  # fmt: skip
    there = {r: c.id for r, c in copies.items() if r in mine.regions and c.state != "gone"}
    return Published(there, to_state(found), tuple(drift))


def _copy_drift(aws: Aws, region: str, copy: Image | None, wanted: Wishes) -> list[str]:
    if copy is None or copy.state in ("gone", "failed"):
        return [f"there is no copy in {region}"]
    standing = find_standing(aws.at(region), copy.id)
    if standing is None:
        return [f"there is no copy in {region}"]
    return [f"the copy in {region}: {said}" for said in find_drift(standing, wanted)]
