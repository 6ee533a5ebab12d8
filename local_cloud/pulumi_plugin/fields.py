"""The words that describe a resource type's attributes, and their way to AWS's names and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from local_cloud.pulumi_plugin.values import Props, has_unknown, is_empty, json_text

Kind = Literal[
    "text", "int", "bool", "flag", "json", "map", "texts", "set", "block", "blocks", "asset"
]
Case = Literal["camel", "pascal"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One attribute of a resource type, or of a block inside one.

    `replaces`: a change forces a replacement; of a block, only its appearing or going does, and of
    a list of blocks only their number (the rule of Terraform's SDK, which the real plugin runs).
    `computed`: AWS decides when it is not given, so leaving it out is no change.
    `clears`: an empty list that is given empties a computed one.
    `api`: AWS's name where the case rule does not give it; "" for what is not sent with the rest.
    `normal`: of a JSON document or a list of blocks, what counts when two of them are compared.
    """

    kind: Kind
    required: bool = False
    replaces: bool = False
    computed: bool = False
    default: Any = None
    api: str | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    normal: Callable[[Any], Any] | None = None
    clears: bool = False

    def api_name(self, name: str, case: Case) -> str:
        if self.api is not None:
            return self.api
        return name[0].upper() + name[1:] if case == "pascal" else name


def text(**options: Any) -> Field:
    return Field(kind="text", **options)


def whole(**options: Any) -> Field:
    return Field(kind="int", **options)


def boolean(**options: Any) -> Field:
    return Field(kind="bool", **options)


def flag(**options: Any) -> Field:
    """A yes or no that the SDK sends as the text `true` or `false`."""
    return Field(kind="flag", **options)


def json_document(**options: Any) -> Field:
    """A JSON document, as text or as an object; compared by its content."""
    return Field(kind="json", **options)


def mapping(**options: Any) -> Field:
    return Field(kind="map", **options)


def texts(**options: Any) -> Field:
    return Field(kind="texts", **options)


def text_set(**options: Any) -> Field:
    """A list of texts whose order says nothing."""
    return Field(kind="set", **options)


def block(fields: Mapping[str, Field], **options: Any) -> Field:
    return Field(kind="block", fields=fields, **options)


def blocks(fields: Mapping[str, Field], **options: Any) -> Field:
    return Field(kind="blocks", fields=fields, **options)


def asset(**options: Any) -> Field:
    return Field(kind="asset", **options)


def canonical(described: Field, value: Any) -> Any:
    """The value in a form in which two that mean the same are equal; None for an empty one.

    `false` and 0 mean the same as nothing given, as they do for Terraform's SDK.
    """
    if is_empty(value):
        return None
    match described.kind:
        case "set":
            return sorted(map(str, value)) if isinstance(value, list) else value
        case "json":
            return _canonical_document(value, described.normal)
        case "flag":
            return str(value).lower()
        case "bool":
            return value if has_unknown(value) else (str(value).lower() == "true") or None
        case "int":
            return value if has_unknown(value) else int(value) or None
        case "text":
            return str(value)
        case "block" if isinstance(value, Mapping):
            return _canonical_block(described.fields, value)
        case "blocks" if isinstance(value, list) and described.normal is not None:
            return described.normal(value)
        case "blocks" if isinstance(value, list):
            return [_canonical_block(described.fields, item) for item in value]
        case _:
            return value


def _canonical_block(fields: Mapping[str, Field], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    pairs = ((key, canonical(fields[key], item)) for key, item in value.items() if key in fields)
    return {key: item for key, item in pairs if item is not None} or None


def _canonical_document(value: Any, normal: Callable[[Any], Any] | None) -> Any:
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return json_text(normal(content) if normal else content)


def to_api(fields: Mapping[str, Field], props: Mapping[str, Any], case: Case) -> Props:
    """The attributes as AWS's API takes them; empty ones and those with `api=""` are left out."""
    sent: Props = {}
    for name, described in fields.items():
        value = props.get(name)
        api_name = described.api_name(name, case)
        if is_empty(value) or not api_name:
            continue
        sent[api_name] = _value_to_api(described, value, case)
    return sent


def _value_to_api(described: Field, value: Any, case: Case) -> Any:
    match described.kind:
        case "block":
            return to_api(described.fields, value, case)
        case "blocks":
            return [to_api(described.fields, item, case) for item in value]
        case "flag" | "bool":
            return str(value).lower() == "true"
        case "int":
            return int(value)
        case "text":
            return str(value)
        case "json":
            return value if isinstance(value, str) else json.dumps(value)
        case "map":
            return {str(key): str(item) for key, item in value.items()}
        case _:
            return value


def from_api(fields: Mapping[str, Field], answer: Mapping[str, Any], case: Case) -> Props:
    """What AWS answered, by the attributes' names; only what is described."""
    props: Props = {}
    for name, described in fields.items():
        value = answer.get(described.api_name(name, case))
        if value is not None:
            props[name] = _value_from_api(described, value, case)
    return props


def _value_from_api(described: Field, value: Any, case: Case) -> Any:
    match described.kind:
        case "block":
            return from_api(described.fields, value, case)
        case "blocks":
            return [from_api(described.fields, item, case) for item in value]
        case "flag":
            return str(value).lower()
        case "text":
            return str(value)
        case _:
            return value
