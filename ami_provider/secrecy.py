"""What the program marked as secret stays so, in what is said and in what the state keeps. Pure.

The engine hands a dynamic provider plain values. So the program sends along which inputs are secret
(`secret_inputs`, as paths), and the engine hides these by their names; what is derived of them, and
what is said about them, is hidden here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ami_provider.redaction import MARKED
from ami_provider.unknowns import UNKNOWN

Props = dict[str, Any]
Path = tuple[str, ...]

SIGNATURE = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""Pulumi's mark of a secret on its way to the engine: key and value beside `value`."""


class Hidden:
    """A secret value: it can be compared, and a reader sees that it is one."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return bool(self._value == (other._value if isinstance(other, Hidden) else other))

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return MARKED


def hide(olds: Mapping[str, Any], news: Mapping[str, Any]) -> tuple[Props, Props]:
    """Both with `Hidden` for what is secret in one of them."""
    paths = {*_list_paths(olds), *_list_paths(news)}
    return _put(olds, paths, Hidden), _put(news, paths, Hidden)


def conceal(props: Mapping[str, Any]) -> Props:
    """The properties as the engine takes them, with what is secret marked as such."""
    key, value = SIGNATURE
    return _put(props, {*_list_paths(props)}, lambda secret: {key: value, "value": secret})


def list_texts(props: Mapping[str, Any]) -> Iterator[str]:
    """The secret values that are texts: what no message may hold."""
    for path in _list_paths(props):
        here: Any = props
        for part in path:
            here = _get(here, part)
        yield from _list_leaves(here)


def part_hidden(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any], list[str]]:
    """Both without what is hidden, and which of that differs."""
    hidden = sorted(
        key for key in old.keys() | new.keys()
        if isinstance(old.get(key), Hidden) or isinstance(new.get(key), Hidden)
    )  # fmt: skip
    left, right = ({k: v for k, v in given.items() if k not in hidden} for given in (old, new))
    return left, right, [key for key in hidden if old.get(key) != new.get(key)]


def _list_paths(props: Mapping[str, Any]) -> Iterator[Path]:
    for path in props.get("secret_inputs") or ():
        yield tuple(map(str, path))


def _list_places(path: Path) -> Iterator[Path]:
    """Where the properties have what is at this path of the inputs.

    A list is hidden as a whole, as the engine does it. So is what has no names of its user's.
    """
    match path:
        case ("recipe",):
            yield from (("recipe",), ("manifest",), ("resolved",), ("images",))
            yield ("model_checksums",)
        case ("recipe", "agent", "extra", name, *_):
            yield from ((holder, "agent", "extra", name) for holder in ("manifest", "resolved"))
        case ("recipe", "extra_steps", _, "script"):
            return  # Nothing else has it: what is derived has its SHA-256.
        case ("recipe", section, *_):
            yield from ((holder, section) for holder in ("manifest", "resolved"))
            if section in ("images", "models"):
                yield ("images" if section == "images" else "model_checksums",)
        case ("tags" | "site", name, *_):
            yield (path[0], name)
            if path == ("site", "region"):
                yield ("region",)
        case ("publication", *_):
            yield from (("publication",), ("published",), ("copies",), ("drift",))
        case ("trusted_owners", *_):
            yield from (("trusted_owners",), ("owner_id",))
        case _:
            yield path


def _put(props: Mapping[str, Any], paths: set[Path], make: Callable[[Any], Any]) -> Props:
    """A copy of the properties with what `make` makes of the values at these paths."""
    places = {place for path in paths for place in _list_places(path)}
    copied = copy.deepcopy(dict(props)) if places else dict(props)
    for place in sorted(places, key=len, reverse=True):
        here: Any = copied
        for part in place[:-1]:
            here = _get(here, part)
        value = _get(here, place[-1])
        if value is not None and value != UNKNOWN:
            here[place[-1]] = make(value)
    return copied


def _get(holder: Any, part: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(part)
    if isinstance(holder, list) and part.isdecimal() and int(part) < len(holder):
        return holder[int(part)]
    return None


def _list_leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _list_leaves(item)
    elif isinstance(value, str) and value != UNKNOWN:
        yield value
