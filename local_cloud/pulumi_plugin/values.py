"""Pulumi's wire values as plain Python values and back; unknowns become one marker string."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

Props = dict[str, Any]

#: What stands for a value that is not known before the update (Pulumi's own marker for any type).
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

# Markers for an unknown value of one type, and the keys of special objects (SDK: python `rpc.py`).
_TYPED_UNKNOWNS = {
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
}
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a type's name on the wire)
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"


def from_struct(struct: struct_pb2.Struct | None) -> Props:
    """The struct as a dictionary: whole numbers as `int`, secrets unwrapped, nulls left out."""
    if struct is None:
        return {}
    result = {key: _from_value(value) for key, value in struct.fields.items()}
    return {key: value for key, value in result.items() if value is not None}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _from_object(from_struct(value.struct_value))
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return UNKNOWN if value.string_value in _TYPED_UNKNOWNS else value.string_value
    if kind == "bool_value":
        return value.bool_value
    return None


def _from_object(value: Props) -> Any:
    signature = value.get(_SIGNATURE)
    if signature == _SECRET:
        return value.get("value")
    if signature == _OUTPUT:
        return value.get("value", UNKNOWN)
    return value


def to_struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    """The dictionary as a struct; `None` values are left out."""
    struct = struct_pb2.Struct()
    struct.update(_without_none(props))
    return struct


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether the value, or anything inside it, is not known yet (also inside a JSON text)."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return isinstance(value, str) and UNKNOWN in value


def is_empty(value: Any) -> bool:
    """Whether a value says no more than leaving it out does (empty text, list or map)."""
    return value is None or (isinstance(value, str | list | Mapping) and not value)


def is_asset(value: Any) -> bool:
    """Whether a decoded object is one of Pulumi's assets (a file, a text or a link)."""
    return isinstance(value, Mapping) and value.get(_SIGNATURE) == ASSET


def json_text(value: Any) -> str:
    """Canonical JSON, for comparing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
