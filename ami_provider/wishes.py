"""What each owner of an AMI asked for, as its tags keep it; everyone's wishes count. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ami_provider import tags
from ami_provider.publication import Publication

RECORD = tags.PREFIX + "publication/"
"""Tag of an AMI, with its owner's hash: that owner's wishes; `/2` and so on where they are long."""

LONGEST = 256
"""Characters of a tag's value."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is asked of an AMI; None is no opinion. `storage` may read its snapshots too."""

    accounts: frozenset[str] | None = None
    storage: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    deprecate_at: str | None = None
    protected: bool | None = None


NONE = Wishes()


def to_wishes(asked: Publication | None, created: datetime) -> Wishes:
    """What one owner asks of an AMI that was created then."""
    if asked is None:
        return NONE
    accounts = None if asked.share_with is None else frozenset(asked.share_with)
    return Wishes(
        accounts=accounts,
        storage=accounts or frozenset() if asked.share_snapshots else frozenset(),
        regions=frozenset(copy.region for copy in asked.copies),
        deprecate_at=asked.deprecation(created),
        protected=asked.deregistration_protection,
    )


def to_tags(wishes: Wishes, owner_key: str) -> dict[str, str]:
    """The tags that keep one owner's wishes; none where it has none."""
    words = []
    if wishes.protected is not None:
        words.append("protect" if wishes.protected else "unprotect")
    if wishes.deprecate_at:
        words.append(f"until={wishes.deprecate_at}")
    if wishes.regions:
        words.append(f"copy={'/'.join(sorted(wishes.regions))}")
    if wishes.storage:
        words.append(f"storage={'/'.join(sorted(wishes.storage))}")
    if wishes.accounts is not None:
        words.append(f"share={'/'.join(sorted(wishes.accounts))}")
    text, key = " ".join(words), _key(owner_key)
    parts = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]
    return {key if n == 0 else f"{key}/{n + 1}": part for n, part in enumerate(parts)}


def read_owner(found: Mapping[str, str], owner_key: str) -> Wishes:
    """One owner's wishes, from an AMI's tags."""
    return _read(find_record(found, owner_key))


def find_record(found: Mapping[str, str], owner_key: str) -> dict[str, str]:
    """Those of an AMI's tags that keep one owner's wishes."""
    key = _key(owner_key)
    return {k: v for k, v in found.items() if k == key or k.startswith(f"{key}/")}


def read_all(found: Mapping[str, str]) -> Wishes:
    """What all owners together ask for: every account and region, the latest date, protection."""
    owners = {key.removeprefix(RECORD).split("/")[0] for key in found if key.startswith(RECORD)}
    return merge(*(read_owner(found, tags.OWNER + owner) for owner in sorted(owners)))


def merge(*wishes: Wishes) -> Wishes:
    """Several owners' wishes as one."""
    listed = [one.accounts for one in wishes if one.accounts is not None]
    protected = [one.protected for one in wishes if one.protected is not None]
    return Wishes(
        accounts=frozenset().union(*listed) if listed else None,
        storage=frozenset().union(*(one.storage for one in wishes)),
        regions=frozenset().union(*(one.regions for one in wishes)),
        deprecate_at=max((one.deprecate_at for one in wishes if one.deprecate_at), default=None),
        protected=any(protected) if protected else None,
    )


def carry(mine: Wishes, old: Wishes) -> Wishes:
    """One owner's wishes while they are being put through: the old ones are not taken back yet."""
    return Wishes(
        accounts=old.accounts if mine.accounts is None else mine.accounts,
        storage=mine.storage | old.storage,
        regions=mine.regions | old.regions,
        deprecate_at=mine.deprecate_at or old.deprecate_at,
        protected=old.protected if mine.protected is None else mine.protected,
    )


def _key(owner_key: str) -> str:
    return RECORD + owner_key.removeprefix(tags.OWNER)


def _read(record: Mapping[str, str]) -> Wishes:
    words = "".join(record[key] for key in sorted(record, key=lambda k: (len(k), k))).split(" ")
    given = dict(word.partition("=")[::2] for word in words)
    return Wishes(
        accounts=_names(given["share"]) if "share" in given else None,
        storage=_names(given.get("storage", "")),
        regions=_names(given.get("copy", "")),
        deprecate_at=given.get("until"),
        protected="protect" in given if {"protect", "unprotect"} & given.keys() else None,
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split("/")))
