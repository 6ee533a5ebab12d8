"""Old inputs against new ones: which attributes change, and which changes force a replacement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from local_cloud.pulumi_plugin.fields import Field, canonical
from local_cloud.pulumi_plugin.values import is_empty

ChangeKind = Literal["add", "delete", "update"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One changed attribute: its path (`computeResources.ec2Configurations[0].imageType`)."""

    path: str
    kind: ChangeKind
    forces: bool = False

    @property
    def root(self) -> str:
        """The attribute of the resource that the change is in."""
        return self.path.split(".")[0].split("[")[0]

    def forcing(self) -> Change:
        return replace(self, forces=True)


def find_changes(
    fields: Mapping[str, Field],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    state: Mapping[str, Any],
    prefix: str = "",
) -> Iterator[Change]:
    """Every difference between `old` and `new` inputs; `state` has what AWS filled in by itself."""
    for name, described in fields.items():
        before, after = old.get(name), new.get(name)
        if described.computed and is_empty(after) and not (described.clears and after is not None):
            continue  # AWS's own choice stays
        if described.computed and is_empty(before):
            before = state.get(name)
        if before is None:
            before = described.default
        if canonical(described, before) == canonical(described, after):
            continue
        yield from _changes_of(described, before, after, state.get(name), f"{prefix}{name}")


def _changes_of(
    described: Field, before: Any, after: Any, state: Any, path: str
) -> Iterator[Change]:
    if is_empty(before) or is_empty(after):
        kind: ChangeKind = "add" if is_empty(before) else "delete"
        yield Change(path=path, kind=kind, forces=described.replaces)
    elif described.kind == "block" and isinstance(before, Mapping) and isinstance(after, Mapping):
        inside = state if isinstance(state, Mapping) else {}
        yield from find_changes(described.fields, before, after, inside, f"{path}.")
    elif described.kind == "blocks" and isinstance(before, list) and isinstance(after, list):
        yield from _changes_of_list(described, before, after, state, path)
    else:
        yield Change(path=path, kind="update", forces=described.replaces)


def _changes_of_list(
    described: Field, before: list[Any], after: list[Any], state: Any, path: str
) -> Iterator[Change]:
    for index in range(max(len(before), len(after))):
        place = f"{path}[{index}]"
        if index >= len(before):
            yield Change(path=place, kind="add", forces=described.replaces)
        elif index >= len(after):
            yield Change(path=place, kind="delete", forces=described.replaces)
        elif isinstance(before[index], Mapping) and isinstance(after[index], Mapping):
            inside = state[index] if isinstance(state, list) and index < len(state) else {}
            yield from find_changes(
                described.fields, before[index], after[index], inside, f"{place}."
            )
        elif before[index] != after[index]:
            yield Change(path=place, kind="update", forces=described.replaces)
