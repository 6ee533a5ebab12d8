"""Check: refuse what is not modelled, name what is missing, fill in defaults, names and tags."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.pulumi_plugin.fields import Field
from local_cloud.pulumi_plugin.resource_type import AutoName, ResourceType
from local_cloud.pulumi_plugin.values import UNKNOWN, Props, has_unknown, is_empty

#: The input that says which others were not given by the user (the real plugin's own key).
DEFAULTS = "__defaults"


@dataclass(frozen=True)
class Fault:
    """One wrong input: the path of the attribute and what to do about it."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What the engine says about names: the resource's own, a seed, the stack's naming rules."""

    resource: str
    seed: bytes = b""
    proposed: str | None = None
    disabled: bool = False


def check(
    described: ResourceType,
    olds: Mapping[str, Any],
    news: Mapping[str, Any],
    naming: Naming,
    default_tags: Mapping[str, str],
) -> tuple[Props, list[Fault]]:
    """The inputs to work with, and every fault found in them."""
    given = {key: value for key, value in news.items() if key != DEFAULTS}
    fields = described.all_inputs()
    faults = list(_faults(described.pulumi_type, fields, given))
    for one, other in described.conflicts:
        if not is_empty(given.get(one)) and not is_empty(given.get(other)):
            faults.append(Fault(one, f"'{one}' conflicts with '{other}': give one of the two."))
    checked = _with_defaults(fields, given)
    filled = set(checked) - set(given)
    if described.auto_name is not None:
        filled |= _fill_name(described.auto_name, olds, checked, naming, faults)
    if "tags" in fields and default_tags:
        checked["tags"] = {**default_tags, **checked.get("tags", {})}
    faults.extend(_missing(described.pulumi_type, fields, checked))
    checked[DEFAULTS] = sorted(filled)
    return checked, faults


def _faults(
    pulumi_type: str, fields: Mapping[str, Field], given: Mapping[str, Any], prefix: str = ""
) -> Iterator[Fault]:
    for name, value in given.items():
        path = f"{prefix}{name}"
        if name == DEFAULTS or value is None:
            continue
        if name not in fields:
            yield Fault(
                path,
                f"the stand-in does not model '{path}' of {pulumi_type}; use the real plugin "
                "(pulumi plugin install resource aws), or leave the attribute out.",
            )
            continue
        described = fields[name]
        if described.one_of and not has_unknown(value) and str(value) not in described.one_of:
            allowed = ", ".join(described.one_of)
            yield Fault(path, f"expected '{path}' to be one of [{allowed}], got {value!r}.")
        if described.kind in ("map", "block") and not isinstance(value, Mapping):
            if value != UNKNOWN:
                yield Fault(path, f"'{path}' must be an object.")
        elif described.kind in ("blocks", "texts", "set") and not isinstance(value, list):
            if value != UNKNOWN:
                yield Fault(path, f"'{path}' must be a list.")
        elif described.kind == "block":
            yield from _faults(pulumi_type, described.fields, value, f"{path}.")
        elif described.kind == "blocks":
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _faults(pulumi_type, described.fields, item, f"{path}[{index}].")


def _missing(
    pulumi_type: str, fields: Mapping[str, Field], checked: Mapping[str, Any], prefix: str = ""
) -> Iterator[Fault]:
    for name, described in fields.items():
        path, value = f"{prefix}{name}", checked.get(name)
        if described.required and value is None:
            yield Fault(path, f"missing required property '{path}' of {pulumi_type}.")
        elif described.kind == "block" and isinstance(value, Mapping):
            yield from _missing(pulumi_type, described.fields, value, f"{path}.")
        elif described.kind == "blocks" and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _missing(pulumi_type, described.fields, item, f"{path}[{index}].")


def _with_defaults(fields: Mapping[str, Field], given: Mapping[str, Any]) -> Props:
    filled: Props = {key: value for key, value in given.items() if value is not None}
    for name, described in fields.items():
        value = filled.get(name)
        if value is None and described.default is not None:
            filled[name] = described.default
        elif described.kind == "block" and isinstance(value, Mapping):
            filled[name] = _with_defaults(described.fields, value)
        elif described.kind == "blocks" and isinstance(value, list):
            filled[name] = [
                _with_defaults(described.fields, item) if isinstance(item, Mapping) else item
                for item in value
            ]
    return filled


def _fill_name(
    auto: AutoName,
    olds: Mapping[str, Any],
    checked: Props,
    naming: Naming,
    faults: list[Fault],
) -> set[str]:
    if not is_empty(checked.get(auto.attribute)):
        return set()
    if auto.prefix_attribute and not is_empty(checked.get(auto.prefix_attribute)):
        return set()
    if auto.attribute in olds.get(DEFAULTS, ()) and not is_empty(olds.get(auto.attribute)):
        checked[auto.attribute] = olds[auto.attribute]
        return {auto.attribute}
    if naming.disabled:
        faults.append(Fault(auto.attribute, "automatic naming is disabled: give a name."))
        return set()
    checked[auto.attribute] = naming.proposed or make_name(auto, naming)
    return {auto.attribute}


def make_name(auto: AutoName, naming: Naming) -> str:
    """`<resource name>-<7 hex digits>`, at most `max_length` long."""
    if not auto.random:
        return naming.resource[: auto.max_length]
    if naming.seed:
        suffix = hashlib.sha256(naming.seed).hexdigest()[:7]
    else:
        suffix = secrets.token_hex(4)[:7]
    stem = naming.resource[: auto.max_length - len(suffix) - 1]
    name = f"{stem}-{suffix}"
    return name.lower() if auto.lower else name
