"""What the account owns right now: only what it made itself, and nothing that is terminated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

Item = dict[str, Any]
Lister = Callable[["Cloud"], list[Item]]

#: The kinds always present in an inventory, in this order; services may add more.
KINDS = (
    "machine", "volume", "image", "snapshot", "spot request", "template", "environment", "queue",
    "job definition", "role", "instance profile", "policy", "group", "key pair", "log group",
)  # fmt: skip
LISTERS: list[tuple[str, Lister]] = []
#: Characters of one value that a reader is shown.
LONGEST = 60


def lists(kind: str) -> Callable[[Lister], Lister]:
    """Register what lists one kind: items with at least "id", mostly "name" and "region"."""

    def register(lister: Lister) -> Lister:
        LISTERS.append((kind, lister))
        return lister

    return register


def take_inventory(cloud: Cloud) -> dict[str, list[Item]]:
    """Every kind with its items, over all regions and accounts."""
    found: dict[str, list[Item]] = {kind: [] for kind in KINDS}
    for kind, lister in LISTERS:
        found.setdefault(kind, []).extend(lister(cloud))
    return found


def _short(value: Any) -> str:
    """A map as its parts; of a long text, such as a tag's, its beginning."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def in_words(inventory: dict[str, list[Item]]) -> str:
    """The inventory for a reader; one line for each thing, long values cut."""
    lines = []
    for kind, items in inventory.items():
        for item in items:
            rest = "  ".join(
                f"{name}={_short(value)}" for name, value in item.items() if name != "id" and value
            )
            lines.append(f"{kind:16} {item['id']}  {rest}".rstrip())
    return "\n".join(lines) if lines else "Nothing: the account owns no resource."
