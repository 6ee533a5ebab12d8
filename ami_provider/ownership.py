"""Who owns which AMI, in their tags: claimed at a create, kept for a rollback, let go of."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.claims import Claim, next_claim, read_claim
from ami_provider.errors import BakeError, is_not_found
from ami_provider.image_state import Image, get_state, list_images, remove_tags, set_tags
from ami_provider.site import Lineage

SEEN_S = 60.0
"""How long tags may stay unseen by a search."""


def list_held(aws: Aws, lineage: Lineage) -> dict[str, Image]:
    """Every AMI of the region that this resource has a claim on, by ID."""
    key = tags.get_owner_key(lineage)
    return {i.id: i for i in list_images(aws, {"Name": "tag-key", "Values": [key]})}


def read_claims(held: Mapping[str, Image], lineage: Lineage) -> dict[str, Claim]:
    """The resource's claim on each of these AMIs."""
    key = tags.get_owner_key(lineage)
    return {i: read_claim(image.tags[key]) for i, image in held.items() if key in image.tags}


def find_others(image: Image, lineage: Lineage) -> list[str]:
    """Owner tags of other resources on the AMI."""
    return sorted(tags.find_owners(image.tags).keys() - {tags.get_owner_key(lineage)})


def claim_image(
    aws: Aws,
    image_id: str,
    lineage: Lineage,
    keep: int = 0,
    also: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """Make it the resource's current AMI; gives the claim that the state keeps.

    `also` are tags that are written in the same call.

    None if the AMI is gone, or disabled because its last owner is about to delete it: as it has
    our claim then, one of the two sees the other. Returns once a search finds the claim: the
    delete of the AMI that it replaces may follow at once, and has to see it.
    """
    held, key = list_held(aws, lineage), tags.get_owner_key(lineage)
    nonce, now_s = secrets.token_hex(8), time.time()
    claim = str(next_claim(read_claims(held, lineage), image_id, nonce=nonce, now_s=now_s))
    noted = {tags.get_keep_key(lineage): str(keep)} if keep else {}
    try:
        set_tags(aws, (image_id,), {**also, key: claim, **noted})
    except BakeError as error:
        if error.__cause__ and is_not_found(error.__cause__):
            return None
        raise
    if image_id in held and not keep and read_keep(held[image_id], lineage):
        set_keep(aws, image_id, lineage, 0)

    def look() -> bool | None:
        """Whether it is ours, once that is settled."""
        seen = list_held(aws, lineage).get(image_id)
        if seen is None or seen.tags[key] != claim:
            seen = get_state(aws, image_id)
            return None if seen and seen.state == "available" else False
        return seen.state == "available"

    with contextlib.suppress(waiting.WaitTimeoutError):
        return claim if waiting.wait_until(look, timeout_s=SEEN_S) else None
    return claim


def set_keep(aws: Aws, image_id: str, lineage: Lineage, keep: int) -> None:
    """Note on the resource's current AMI how many earlier ones stay: no state has those."""
    key = tags.get_keep_key(lineage)
    if keep:
        set_tags(aws, (image_id,), {key: str(keep)})
    else:
        remove_tags(aws, image_id, key)


def read_keep(image: Image, lineage: Lineage) -> int:
    """What `set_keep` noted."""
    text = image.tags.get(tags.get_keep_key(lineage), "0")
    return int(text) if text.isdecimal() else 0


def keep_for_rollback(aws: Aws, image_id: str, lineage: Lineage, claim: Claim) -> None:
    """Let the claim say that this is an earlier AMI. May be repeated."""
    set_tags(aws, (image_id,), {tags.get_owner_key(lineage): str(claim.as_earlier())})


def drop_claim(aws: Aws, image_id: str, lineage: Lineage) -> None:
    """Take the resource's tags off the AMI. May be repeated."""
    remove_tags(aws, image_id, tags.get_owner_key(lineage), tags.get_keep_key(lineage))
