"""Whether an entry's `when` holds for a call: its parameters, and facts of what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

#: What is true of a call, or of the machine it launches or names.
Facts = Mapping[str, Any]

#: Facts of every call, then those of a launch or a machine. `tag:KEY` is one too.
CALL_FACTS = ("access_key", "region")
MACHINE_FACTS = ("instance_type", "zone", "spot", "template", "image", "subnet", "machine")


def is_fact(name: str) -> bool:
    return name in CALL_FACTS or is_machine_fact(name)


def is_machine_fact(name: str) -> bool:
    return name in MACHINE_FACTS or name.startswith("tag:")


def matches(when: Mapping[str, Any], params: Mapping[str, Any], facts: Facts) -> bool:
    """Whether every condition holds. A name is a fact's, or a path into the parameters."""
    for name, wanted in when.items():
        if is_fact(name) and name not in params:
            held = list(_values(facts.get(name), []))
        elif name in params:
            held = list(_values(params[name], []))
        else:
            held = list(_values(params, name.split(".")))
        if not any(_equals(one, wanted) for one in held or [None]):
            return False
    return True


def _values(thing: Any, path: list[str]) -> Iterator[Any]:
    """What is at the end of a dotted path; every item of a list on the way, and at the end."""
    if not path:
        yield thing
        if isinstance(thing, list):
            for item in thing:
                yield from _values(item, path)
    elif isinstance(thing, list):
        for item in thing:
            yield from _values(item, path)
    elif isinstance(thing, Mapping) and path[0] in thing:
        yield from _values(thing[path[0]], path[1:])


def _equals(held: Any, wanted: Any) -> bool:
    """Equal, one of a list of wanted values, or like a pattern with `*` and `?`."""
    if held == wanted:
        return True
    if isinstance(wanted, list):
        return any(_equals(held, one) for one in wanted)
    if isinstance(wanted, str) and isinstance(held, str):
        return fnmatchcase(held, wanted)
    return False
