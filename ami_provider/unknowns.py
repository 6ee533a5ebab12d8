"""Inputs of which a part is not known at preview: what is known is still checked. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

from ami_provider.faults import Path, render_path

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What Pulumi puts in place of a value that is not known yet (`pulumi.runtime.rpc.UNKNOWN`)."""

REPOSITORY = "000000000000.dkr.ecr.xx-none-1.amazonaws.com/not-known-yet"
STAND_INS: dict[str, Any] = {
    "region": "xx-none-1",
    "instance_profile": "not-known-yet",
    "repository": REPOSITORY,
    "images": [{"repository": REPOSITORY, "tag": "not-known-yet"}],
    "models": [],
    "copies": [],
    "extra_steps": [],
    "tag": "not-known-yet",
    "digest": f"sha256:{'0' * 64}",
    "sha256": "0" * 64,
    "name": "not-known-yet",
    "script": "true",
}
"""Well-formed values that let everything around an unknown one be parsed; never looked up.

An unknown value that has none is left out, so that its default stands in.
"""
NAMED_BY_USERS = ("tags", "extra")
"""What holds values whose names are the user's own: a tag `models` is no list of models."""
ITEMS = {
    "subnet_ids": "subnet-{:08x}",
    "security_group_ids": "sg-{:08x}",
    "instance_types": "t{}.unknown",
    "hold": "not-known-yet-{}",
    "share_with": "{:012d}",
    "trusted_owners": "{:012d}",
}


def name_unknown(value: Any) -> Any:
    """The data with `UNKNOWN` for each `pulumi.output.Unknown`, as newer SDKs hand it over."""
    if isinstance(value, dict):
        return {key: name_unknown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [name_unknown(item) for item in value]
    return UNKNOWN if type(value).__name__ == "Unknown" else value


def put_unknown(value: Any, paths: Iterable[str]) -> Any:
    """A copy of the data with `UNKNOWN` at these paths (`recipe.images[0].tag`).

    Where nothing that can hold a path's last part is there, what should be is unknown.
    """
    copied = copy.deepcopy(value)
    for path in paths:
        here: Any = copied
        parts = [int(index) if index else name
                 for index, name in re.findall(r"\[(\d+)\]|([^.\[]+)", path)]  # fmt: skip
        for at, part in enumerate(parts):
            held = _find(here, part)
            if at == len(parts) - 1 or not isinstance(held, dict | list):
                if isinstance(here, dict) or held is not None:
                    here[part] = UNKNOWN
                break
            here = held
    return copied


def _find(holder: dict[Any, Any] | list[Any], part: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(part)
    return holder[part] if isinstance(part, int) and part < len(holder) else None


def touches(unknown: frozenset[str], path: str) -> bool:
    """Whether the value at the path, a part of it, or what holds it is unknown."""
    ends = (".", "[")
    return any(
        p == path
        or (p.startswith(path) and p[len(path)] in ends)
        or (path.startswith(p) and path[len(p)] in ends)
        for p in unknown
    )


def replace_unknown(value: Any, path: Path = ()) -> tuple[Any, frozenset[str]]:
    """The data with stand-ins for unknown values, and the paths of those values."""
    paths: frozenset[str] = frozenset()
    if isinstance(value, dict):
        known: dict[str, Any] = {}
        for key, item in value.items():
            found, more = _replace(item, (*path, key))
            paths |= more
            if found is not None:
                known[key] = found
        return known, paths
    if isinstance(value, list):
        items = [_replace(item, (*path, index)) for index, item in enumerate(value)]
        return [found for found, _ in items], paths.union(*(more for _, more in items))
    return value, paths


def _replace(item: Any, path: Path) -> tuple[Any, frozenset[str]]:
    if item == UNKNOWN:
        return _stand_in(path), frozenset({render_path(path)})
    return replace_unknown(item, path)


def _stand_in(path: Path) -> Any:
    last, above = path[-1], path[-2] if len(path) > 1 else ""
    if above in NAMED_BY_USERS:
        return None
    if isinstance(last, int):
        return _item(str(above), last)
    if isinstance(above, int) and path[-3] == "copies" and last == "region":
        return f"xx-none-{above % 10}"
    if isinstance(above, int) and last in (model := _item("models", above)):
        return model[last]
    if last in ITEMS:
        return [_item(last, 0)]
    return STAND_INS.get(last)


def _item(listed: str, index: int) -> Any:
    """A stand-in for one item of a list; each of its own, since lists refuse the same twice."""
    name = f"not-known-yet-{index}"
    match listed:
        case "images":
            return {"repository": REPOSITORY, "tag": name}
        case "models":
            return {"source": f"s3://not-known-yet/{index}", "destination": f"/opt/{name}"}
        case "copies":
            return {"region": f"xx-none-{index % 10}"}
        case "extra_steps":
            return {"name": name, "script": "true"}
    return ITEMS[listed].format(index) if listed in ITEMS else None
