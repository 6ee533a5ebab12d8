"""What a change of inputs means for the AMI: nothing, an update in place, or another AMI. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ami_provider.fingerprint import explain, whole_numbers
from ami_provider.unknowns import UNKNOWN

Props = Mapping[str, Any]

GONE = "gone"
"""State of an AMI that was deregistered by hand while its snapshots are still there."""
MAX_LINES = 20
"""Changes that are listed; a prefix of a thousand models could change as a whole."""
IN_PLACE = ("site", "tags", "keep", "images")
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
    if olds.get("state", "available") != "available":
        return Change(True, lines=(f"the AMI is {olds['state']}; it is made available again.",))
    changed = any(whole_numbers(olds.get(k)) != whole_numbers(news.get(k)) for k in IN_PLACE)
    return Change(changed)


def _why(olds: Props, news: Props) -> tuple[str, ...]:
    labels = {i["repository"]: _label(i) for i in news.get("images", [])}
    lines = explain(olds.get("manifest", {}), news.get("manifest", {}), labels)
    if not lines:
        lines = ["the rule by which fingerprints are taken"]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]
    return ("the AMI is replaced, because its content changes:", *(f"  {line}" for line in lines))


def _label(image: Mapping[str, str]) -> str:
    name = image["repository"].partition("/")[2]
    return f"{name}:{image['tag']}" if image.get("tag") else name
