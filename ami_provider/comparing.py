"""What a change of inputs means for the AMI: nothing, an update in place, or another AMI. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ami_provider.explaining import explain
from ami_provider.fingerprint import whole_numbers
from ami_provider.in_place import explain_in_place
from ami_provider.secrecy import hide, part_hidden
from ami_provider.unknowns import UNKNOWN

Props = Mapping[str, Any]

GONE = "gone"
"""State of an AMI that was deregistered by hand while its snapshots are still there."""
MAX_LINES = 20
"""Changes that are listed; a prefix of a thousand models could change as a whole."""
UNSHARED = "unshared"
"""State of another account's AMI that this one cannot see any more."""
IN_PLACE = (
    "site", "tags", "keep", "images", "publication", "trusted_owners", "lineage", "secret_inputs"
)  # fmt: skip
"""Inputs whose change is taken over without another AMI."""


@dataclass(frozen=True)
class Change:
    """What Pulumi is told, and what the reader is told."""

    changes: bool
    replaces: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def compare(olds: Props, news: Props) -> Change:
    """Another AMI only where the fingerprint or the region differs. `olds` are the outputs."""
    if news.get("fingerprint") == UNKNOWN or news.get("region") == UNKNOWN:
        line = "the AMI may be replaced: an input of its recipe is not known yet."
        return Change(True, ("fingerprint",), (line,))
    if olds.get("region") != news.get("region"):
        line = f"the AMI is replaced: region {olds.get('region')} -> {news.get('region')}"
        return Change(True, ("region",), (line,))
    if olds.get("fingerprint") != news.get("fingerprint"):
        return Change(True, ("fingerprint",), _why(olds, news))
    if olds.get("state") == GONE:
        line = "the AMI is replaced: it was deregistered outside of this stack."
        return Change(True, ("ami_id",), (line,))
    foreign = _why_not_trusted(olds, news)
    if foreign:
        return Change(True, ("ami_id",), (f"the AMI is replaced: {foreign}",))
    if olds.get("state", "available") != "available":
        return Change(True, lines=(f"the AMI is {olds['state']}; it is made available again.",))
    if olds.get("drift"):
        lines = ("the AMI is not published as asked, and is put right:", *map(str, olds["drift"]))
        return Change(True, lines=(lines[0], *(f"  {line}" for line in lines[1:])))
    changed = any(whole_numbers(olds.get(k)) != whole_numbers(news.get(k)) for k in IN_PLACE)
    return Change(changed, lines=_in_place(olds, news) if changed else ())


def _in_place(olds: Props, news: Props) -> tuple[str, ...]:
    lines = _cut(explain_in_place(*hide(olds, news)))
    return ("the AMI stays; changed in place:", *(f"  {line}" for line in lines)) if lines else ()


def _why_not_trusted(olds: Props, news: Props) -> str:
    """Why another account's AMI is not used any longer; empty for this account's own."""
    owner = olds.get("owner_id") or "self"
    if owner == "self":
        return ""
    if olds.get("state") == UNSHARED:
        return f"account {owner} has deleted it, or does not share it with this one any more."
    trusted = news.get("trusted_owners") or []
    if trusted != UNKNOWN and owner not in trusted and UNKNOWN not in trusted:
        return f"its account {owner} is not in trusted_owners any more."
    return ""


def _why(olds: Props, news: Props) -> tuple[str, ...]:
    labels = {i["repository"]: _label(i) for i in news.get("images", [])}
    old, new, hidden = part_hidden(*hide(olds, news))
    lines = explain(old.get("manifest", {}), new.get("manifest", {}), labels)
    if "manifest" in hidden:
        lines = ["its recipe, which is secret"]
    if not lines:
        lines = ["the rule by which fingerprints are taken"]
    shown = (f"  {line}" for line in _cut(lines))
    return ("the AMI is replaced, because its content changes:", *shown)


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= MAX_LINES:
        return lines
    return [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]


def _label(image: Mapping[str, str]) -> str:
    name = image["repository"].partition("/")[2]
    return f"{name}:{image['tag']}" if image.get("tag") else name
