"""Lets go of a resource's AMI: kept for a rollback, left to its other owners, or deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.claims import choose_kept, find_successor, read_claim
from ami_provider.copies import find_copies
from ami_provider.errors import BakeError
from ami_provider.image_removal import delete_image, disable_image
from ami_provider.image_state import Image, get_state
from ami_provider.ownership import (
    drop_claim,
    find_others,
    keep_for_rollback,
    list_held,
    read_claims,
    read_keep,
)
from ami_provider.publishing import withdraw
from ami_provider.site import Lineage
from ami_provider.uses import User, find_machines, find_users

Outcome = Literal["deleted", "kept", "shared", "stale"]

ENDING_S = 600.0
"""How long machines that are shutting down already are waited for."""


@dataclass(frozen=True)
class Owner:
    """The resource that lets go, and how it speaks to AWS and to the reader."""

    aws: Aws
    lineage: Lineage
    report: Callable[[str], None]


def delete_ami(
    image_id: str,
    *,
    owner: Owner,
    nonce: str,
    snapshot_ids: tuple[str, ...] = (),
    regions: Collection[str] = (),
    ends: bool = False,
) -> Outcome:
    """Let go of one AMI of the resource. May be repeated, and after any interruption.

    `nonce` is the claim that the state has. `stale`: a later create took it again, nothing was
    changed. `kept`: another AMI has replaced it, and it stays for a rollback. `shared`: others own
    it, only this claim went. `deleted`: it and its snapshots are gone, also when they were before,
    and so are its copies; `regions` has theirs, for an AMI that is gone with its tags.
    Where nothing replaces it, the earlier AMIs that were kept go with it. Where the resource
    `ends`, so do later ones that nothing uses: of a create that was killed, no state knows it.
    Raises `BakeError` with everything that uses one of the AMIs that have to go; nothing was
    changed then.
    """
    outcome: Outcome
    image, known = get_state(owner.aws, image_id), read_claim(nonce)
    held = list_held(owner.aws, owner.lineage)
    held.pop(image_id, None)
    if image is not None:
        held[image_id] = image  # As it is by its ID: a search by tags may lag behind.
    claims = read_claims(held, owner.lineage)
    mine = claims.get(image_id)
    if mine is not None and not mine.is_of(known):
        owner.report(f"{image_id} stays: the resource has taken it again")
        return "stale"
    successor = find_successor(claims, image_id, known)
    gone = image or Image(image_id, "", "gone", snapshot_ids)
    if successor is None:
        others = [held[i] for i in sorted(claims, key=lambda i: claims[i].turn) if i != image_id]
        return _let_go([*others, gone], owner, held, regions)
    if ends:
        outcome = _let_go([gone], owner, held, regions)
        _prune(
            [held[i] for i in claims if i != image_id], owner, held, "another AMI of this resource"
        )
        return outcome
    kept = choose_kept(claims, successor, read_keep(held[successor], owner.lineage))
    if mine is not None and image_id in kept:
        keep_for_rollback(owner.aws, image_id, owner.lineage, mine)
        owner.report(f"{image_id} stays for a rollback")
        outcome = "kept"
    else:
        outcome = _let_go([gone], owner, held, regions)
    _prune([held[i] for i in claims if i not in (image_id, successor, *kept)], owner, held)
    return outcome


def prune(image_id: str, keep: int, owner: Owner) -> None:
    """Let go of the earlier AMIs beyond the `keep` newest, where this one is the current AMI."""
    held = list_held(owner.aws, owner.lineage)
    claims = read_claims(held, owner.lineage)
    if image_id in claims and find_successor(claims, image_id, claims[image_id]) is None:
        earlier = {i: c for i, c in claims.items() if i == image_id or c.is_earlier}
        kept = choose_kept(earlier, image_id, keep)
        _prune([held[i] for i in earlier if i not in (image_id, *kept)], owner, held)


def release(image: Image, owner: Owner, held: Collection[str]) -> Outcome:
    """Let go of one earlier AMI: deleted, or left to its other owners.

    Raises `InUseError` with everything that uses it; nothing was changed then.
    """
    return _let_go([image], owner, held)


def _prune(
    images: list[Image], owner: Owner, held: Collection[str], what: str = "an earlier AMI"
) -> None:
    """One that is still in use stays until the next time: it is no reason to fail."""
    for image in images:
        try:
            _let_go([image], owner, held)
        except InUseError as error:
            used = "; ".join(error.details.splitlines())
            owner.report(f"{image.id}, {what}, stays for now: {used}")


class InUseError(BakeError):
    """Something uses an AMI that was to go."""


InUseError.__module__ = "builtins"


Places = list[tuple[Aws, Image]]
"""AMIs with the clients of their regions."""


def _let_go(
    images: list[Image], owner: Owner, held: Collection[str], regions: Collection[str] = ()
) -> Outcome:
    """Let go of these AMIs, all or none; what became of the last one, whose copies are there too.

    A copy in another region goes with the AMI that it was made of.
    """
    copies = {
        image.id: _find_copies(owner, image, regions if image is images[-1] else ())
        for image in images
    }
    ours = [image for image in images if not find_others(image, owner.lineage)]
    _refuse_used([p for i in ours for p in ((owner.aws, i), *copies[i.id])], owner, held)
    outcomes = [
        _delete_last(image, copies[image.id], owner)
        if image in ours
        else _leave(image, copies[image.id], owner, held)
        for image in images
    ]
    return outcomes[-1]


def _find_copies(owner: Owner, image: Image, regions: Collection[str]) -> Places:
    return [(owner.aws.at(region), copy) for region, copy in find_copies(owner.aws, image, regions)]


def _leave(image: Image, copies: Places, owner: Owner, held: Collection[str]) -> Outcome:
    """Others own it too: only what this owner asked of it goes, and then its claim.

    If they let go in the same moment, the AMI goes.
    """
    withdraw(image.id, lineage=owner.lineage, aws=owner.aws, report=owner.report)
    drop_claim(owner.aws, image.id, owner.lineage)
    left = get_state(owner.aws, image.id)
    if left is not None and not tags.find_owners(left.tags):
        _refuse_used([(owner.aws, left), *copies], owner, held)
        return _delete_last(left, copies, owner)
    owner.report(f"{image.id} stays for its other owners")
    return "shared"


def _delete_last(image: Image, copies: Places, owner: Owner) -> Outcome:
    """Delete an AMI that nobody else owned or used a moment ago; look again before it is final."""
    aws = owner.aws
    if image.state != "gone":
        undo = disable_image(aws, image.id)
        again = get_state(aws, image.id)
        key = tags.get_owner_key(owner.lineage)
        if again is not None:
            if again.tags.get(key) != image.tags.get(key):
                undo()
                owner.report(f"{image.id} stays: the resource has taken it again")
                return "stale"
            if find_others(again, owner.lineage):
                undo()
                withdraw(image.id, lineage=owner.lineage, aws=aws, report=owner.report)
                drop_claim(aws, image.id, owner.lineage)
                owner.report(f"{image.id} stays for the owner that has just taken it")
                return "shared"
            launched = find_machines(aws, image.id)
            if launched:
                undo()
                raise _in_use({image.id: launched})
        snapshots = sum(len(one.snapshot_ids) for _, one in ((aws, image), *copies))
        also = f" and its {len(copies)} copies" if copies else ""
        owner.report(f"deregistering {image.id}{also} and deleting {snapshots} snapshots")
    for there, copy in copies:
        delete_image(there, copy)
    delete_image(aws, image)
    return "deleted"


def _refuse_used(images: Places, owner: Owner, held: Collection[str]) -> None:
    """Raise with everything that uses the AMIs; wait for machines that are ending already."""
    said = False

    def find_all() -> dict[str, list[User]]:
        there = [(aws, image) for aws, image in images if image.state != "gone"]
        return {i.id: find_users(aws, i, owner.lineage, held) for aws, i in there}

    def look() -> dict[str, list[User]] | None:
        nonlocal said
        users = find_all()
        ending = [user.text for found in users.values() for user in found if user.is_ending]
        if ending and all(user.is_ending for found in users.values() for user in found):
            if not said:
                owner.report(f"waiting for {', '.join(ending)}")
            said = True
            return None
        return users

    try:
        users = waiting.wait_until(look, timeout_s=ENDING_S)
    except waiting.WaitTimeoutError:
        users = find_all()
    users = {image_id: found for image_id, found in users.items() if found}
    if users:
        raise _in_use(users)


def _in_use(users: dict[str, list[User]]) -> InUseError:
    lines = [
        user.text if len(users) == 1 else f"{image_id}: {user.text}"
        for image_id, found in users.items()
        for user in found
    ]
    return InUseError(
        f"the AMI {', '.join(users)} is still in use",
        "\n".join(lines),
        "Let those go first (end the machines, point the others at another AMI), then run this "
        "again.",
    )
