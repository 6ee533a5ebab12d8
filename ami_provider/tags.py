"""The names and tags under which a bake keeps its progress in AWS. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import TagTypeDef

Role = Literal["builder", "verifier", "image", "kept"]

PREFIX = "baked-ami:"
FINGERPRINT = PREFIX + "fingerprint"
LINEAGE = PREFIX + "lineage"
ROLE = PREFIX + "role"
ATTEMPT = PREFIX + "attempt"
STEP = PREFIX + "step"
FAILED = PREFIX + "failed"
KEPT = PREFIX + "kept"
VERIFIED = PREFIX + "verified"
OWNER = PREFIX + "owner/"
KEEP = PREFIX + "keep/"
FROM = PREFIX + "from"
"""On a builder and its AMI: the earlier AMI that it was booted from in place of the base AMI."""
GENERATION = PREFIX + "generation"
"""With `FROM`: how many incremental bakes lie between this and the last full one, and this."""
BASIS = PREFIX + "basis"
"""On an AMI: what an AMI that is baked from it has to have in common with it."""
REFUSED = PREFIX + "refused"
"""On an AMI: an incremental bake from it was not as from scratch; its fingerprint's start."""
SOURCE = PREFIX + "source"
"""On a copy in another region: `<region>/<AMI>` of what it was copied from."""

VERIFIED_YES = "yes"
VERIFIED_OFF = "off"
"""Values of `VERIFIED`: checked on a machine booted from it; given out unchecked, as was asked."""


class Line(Protocol):
    """What this module needs of a lineage."""

    @property
    def project(self) -> str: ...
    @property
    def stack(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def urn(self) -> str: ...


def get_ami_name(lineage_name: str, fingerprint: str) -> str:
    """The AMI's name. EC2 keeps names unique in an account and region: it decides who bakes."""
    return f"baked-ami-{lineage_name}-{fingerprint[:16]}"


def get_path(lineage: Line) -> str:
    """`project/stack/name`, cut to the 256 characters a tag's value may have."""
    return f"{lineage.project}/{lineage.stack}/{lineage.name}"[-256:]


def get_owner_key(lineage: Line) -> str:
    """The tag by which one resource of one stack owns an AMI; its value is a `claims.Claim`."""
    return OWNER + _get_owner(lineage)


def get_keep_key(lineage: Line) -> str:
    """The tag of its current AMI that says how many earlier ones the resource keeps."""
    return KEEP + _get_owner(lineage)


def _get_owner(lineage: Line) -> str:
    who = lineage.urn or get_path(lineage)
    return hashlib.sha256(who.encode()).hexdigest()[:16]


def find_owners(tags: Mapping[str, str]) -> dict[str, str]:
    """Owner tag -> claim, of everyone who owns the AMI with these tags."""
    return {key: value for key, value in tags.items() if key.startswith(OWNER)}


def to_mapping(tags: Iterable[TagTypeDef] | None) -> dict[str, str]:
    """EC2's list of keys and values as a mapping."""
    return {tag.get("Key", ""): tag.get("Value", "") for tag in tags or ()}


def to_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    """A mapping as EC2's list of keys and values, in a fixed order (a ClientToken covers it)."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
