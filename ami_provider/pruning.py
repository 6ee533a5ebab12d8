"""Lets go of a lineage's earlier AMIs, beyond those that stay: by hand, with or without Pulumi."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from ami_provider.aws import Aws
from ami_provider.claims import Claim, choose_kept
from ami_provider.deleting import InUseError, Owner, release
from ami_provider.errors import BakeError
from ami_provider.image_state import Image
from ami_provider.ownership import find_others, list_held, read_claims
from ami_provider.site import Lineage
from ami_provider.uses import find_users

Verdict = Literal["current", "kept", "in use", "goes", "gone", "left to others", "failed"]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What becomes of one AMI of a lineage, and why.

    `goes`: it would be deleted, and was not (a dry run); `left to others`: only this lineage's
    claim went, or would go.
    """

    ami_id: str
    name: str
    verdict: Verdict
    why: str
    snapshot_ids: tuple[str, ...] = ()


def prune_lineage(
    aws: Aws,
    lineage: Lineage,
    *,
    keep: int,
    dry_run: bool,
    only: Collection[str] = (),
    report: Callable[[str], None] = lambda _text: None,
) -> list[Pruned]:
    """Every AMI of the lineage with what became of it, the newest first.

    Only AMIs that another one has replaced go, beyond the `keep` newest of them: never the current
    one, one in use, or one that a stack may still hold. `only` names some of them. May be repeated.
    """
    held = list_held(aws, lineage)
    claims = read_claims(held, lineage)
    current = _find_current(claims)
    kept = _choose(claims, current, keep)
    owner = Owner(aws, lineage, report)
    found = []
    for image_id in sorted(claims, key=lambda one: claims[one].turn, reverse=True):
        if only and image_id not in only:
            continue
        image = held[image_id]
        stays = _why_stays(image_id, claims[image_id], current, kept)
        verdict, why = stays or _let_go(image, owner, held, dry_run=dry_run)
        found.append(
            Pruned(
                ami_id=image_id,
                name=image.name,
                verdict=verdict,
                why=why,
                snapshot_ids=image.snapshot_ids,
            )
        )
    return found


def _find_current(claims: dict[str, Claim]) -> str | None:
    replacing = [one for one, claim in claims.items() if not claim.is_earlier]
    return max(replacing, key=lambda one: claims[one].turn, default=None)


def _choose(claims: dict[str, Claim], current: str | None, keep: int) -> list[str]:
    """Without a current AMI nothing says which of them is wanted: all stay."""
    if current is None:
        return list(claims)
    earlier = {i: c for i, c in claims.items() if c.is_earlier or i == current}
    return choose_kept(earlier, current, keep)


def _why_stays(
    image_id: str, claim: Claim, current: str | None, kept: list[str]
) -> tuple[Verdict, str] | None:
    if image_id == current:
        return "current", "the lineage's current AMI"
    if not claim.is_earlier:
        return "kept", "nothing says yet that it was replaced: its stack may still hold it"
    if image_id in kept:
        why = "one of the newest that stay" if current else "the lineage has no current AMI"
        return "kept", why
    return None


def _let_go(
    image: Image, owner: Owner, held: Collection[str], *, dry_run: bool
) -> tuple[Verdict, str]:
    others = find_others(image, owner.lineage)
    if dry_run:
        users = [user.text for user in find_users(owner.aws, image, owner.lineage, held)]
        if users and not others:
            return "in use", "; ".join(users)
        return ("left to others", f"{len(others)} others own it") if others else ("goes", "")
    try:
        outcome = release(image, owner, held)
    except InUseError as error:
        return "in use", "; ".join(error.details.splitlines())
    except BakeError as error:
        return "failed", " ".join(str(error).split())
    if outcome == "shared":
        return "left to others", f"{len(others)} others own it"
    many = len(image.snapshot_ids)
    return "gone", f"deregistered, and its {'snapshot' if many == 1 else f'{many} snapshots'} too"


def list_claimants(lineages: Collection[Lineage], aws: Aws) -> Iterator[Lineage]:
    """Those of the lineages that own an AMI in the region."""
    for lineage in lineages:
        if list_held(aws, lineage):
            yield lineage
