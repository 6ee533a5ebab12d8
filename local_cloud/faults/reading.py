"""Reads a faults file, or a list given at run time: one clear error names the entry."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from botocore.exceptions import UnknownServiceError
from moto.core.utils import get_service_model
from pydantic import ValidationError

from local_cloud.faults import kinds
from local_cloud.faults.kinds import Entry
from local_cloud.faults.orders import Faults
from local_cloud.faults.when import is_fact

KINDS: dict[str, type[Entry]] = {
    **dict.fromkeys(get_args(kinds.CallKind), kinds.Fault),
    **dict.fromkeys(get_args(kinds.MachineKind), kinds.MachineFault),
    **dict.fromkeys(get_args(kinds.LimitKind), kinds.Limit),
    "unseen": kinds.Unseen,
}
#: Which of a limit's bounds belongs to which kind.
BOUNDS = {"capacity": "machines", "quota": "vcpus", "initialization-budget": "mib_s"}


class FaultsFileError(Exception):
    """Faults that cannot be used; the message names the file, the entry and what is wrong."""


def read_faults(path: Path) -> Faults:
    """Read a JSON list of faults. Raises FaultsFileError naming what is wrong and where."""
    named = f"faults file {path}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaultsFileError(f"{named}: cannot be read: {error.strerror}") from error
    return Faults(parse_faults(content, named=named))


def parse_faults(text: str | bytes, *, named: str = "faults") -> list[Entry]:
    """The entries of a JSON list. Raises FaultsFileError naming the entry and what is wrong."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise FaultsFileError(f"{named}: not JSON: {error}") from error
    if not isinstance(entries, list):
        raise FaultsFileError(f"{named}: a JSON list of faults is needed")
    return [_entry(one, f"{named}: entry {n}") for n, one in enumerate(entries, start=1)]


def parse_fault(given: Any, *, named: str) -> Entry:
    """One entry, as a dictionary. Raises FaultsFileError."""
    return _entry(given, named)


def _entry(given: Any, named: str) -> Entry:
    named = f"{named} ({json.dumps(given)})"
    if not isinstance(given, dict):
        raise FaultsFileError(f"{named}: an object is needed")
    kind = given.get("fault")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultsFileError(
            f"{named}: fault: {json.dumps(kind)} is not one of {', '.join(KINDS)}"
            + _nearest(str(kind), list(KINDS))
        )
    try:
        entry = KINDS[kind].model_validate(given)
    except ValidationError as error:
        said = "; ".join(_said(one, KINDS[kind], kind) for one in error.errors())
        raise FaultsFileError(f"{named}: {said}") from error
    wrong = _wrong(entry, given)
    if wrong:
        raise FaultsFileError(f"{named}: {wrong}")
    return entry


def _said(error: Any, kind: type[Entry], name: str) -> str:
    where = ".".join(map(str, error["loc"])) or "entry"
    if error["type"] == "extra_forbidden":
        fields = sorted(kind.model_fields)
        return f"{where}: {name} has no such field, but {', '.join(fields)}"
    return f"{where}: {error['msg']}"


def _wrong(entry: Entry, given: dict[str, Any]) -> str | None:
    """What the shape of an entry cannot tell: names that AWS does not have, bounds left out."""
    if isinstance(entry, kinds.Limit):
        others = set(BOUNDS.values()) - {BOUNDS[entry.fault]}
        if BOUNDS[entry.fault] not in given and entry.fault != "capacity":
            return f"{BOUNDS[entry.fault]}: a {entry.fault} needs it"
        if strays := sorted(others & set(given)):
            return f"{strays[0]}: belongs to another kind of limit"
    if isinstance(entry, kinds.Unseen) and not entry.looks and not entry.seconds:
        return "looks or seconds: one of them is needed"
    if isinstance(entry, (kinds.Fault, kinds.MachineFault)):
        return _unknown_call(entry.service, entry.action or "*", entry.when)
    strays = [name for name in entry.when if not is_fact(name)]
    return f"when.{strays[0]}: no such fact{_facts()}" if strays else None


def _unknown_call(service: str, action: str, when: dict[str, Any]) -> str | None:
    if service == "*":
        return None
    try:
        model = get_service_model(service)
    except UnknownServiceError as error:
        return f"service: {service!r} is no service" + _nearest(
            service, list(error.kwargs.get("known_service_names", []))
        )
    if action == "*":
        return None
    if action not in model.operation_names:
        near = _nearest(action, list(model.operation_names))
        return f"action: {service} has no action {action!r}{near}"
    shape = model.operation_model(action).input_shape
    members = list(shape.members) if shape is not None else []
    for name in when:
        if not is_fact(name) and name.split(".")[0] not in members:
            return f"when.{name}: {action} has no such parameter{_facts(members, name)}"
    return None


def _facts(members: list[str] | None = None, name: str = "") -> str:
    near = _nearest(name, members or [])
    facts = "instance_type, zone, spot, template, image, subnet, machine, region, access_key"
    return f"{near}; of any launch or machine: {facts}, tag:KEY"


def _nearest(word: str, words: list[str]) -> str:
    near = get_close_matches(word, words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
