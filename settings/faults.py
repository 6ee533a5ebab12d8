"""What is wrong with a setting, in a reader's words, under the key that it stands at."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from settings.model import SECTIONS, Settings

NAMESPACE = "baked-ami"
Fault = tuple[str, str]
"""A key in full, and what is wrong with its value."""

EXAMPLES = {
    "repositoryUrl": "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor",
    "subnetIds": "[subnet-0a1b2c3d4e5f60718]",
    "source": "s3://my-models/yolo.pt",
    "aws:region": "ap-northeast-2",
}
"""What a reader is told to write where a required key is missing."""

SENTENCES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a map (`name: value` lines below the key)",
    "model_type": "must be a map (`name: value` lines below the key)",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} character",
    "string_type": "must be text (put it in quotes)",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
}
"""What pydantic's kinds of errors are for a reader, with what their context holds."""


def placeholders(key: str, value: Any) -> list[Fault]:
    """A fault for each text that still says REPLACE, however deep it sits."""
    if isinstance(value, str) and "REPLACE" in value:
        return [(_full(key), f"still holds the placeholder {value!r}; put your own value there")]
    if isinstance(value, dict):
        return [f for name, part in value.items() for f in placeholders(f"{key}.{name}", part)]
    if isinstance(value, list):
        return [f for at, part in enumerate(value) for f in placeholders(f"{key}[{at}]", part)]
    return []


def innermost(faults: list[Fault]) -> list[Fault]:
    """One fault a key, the first told; none for a list or map whose own parts are at fault."""
    first = dict(reversed(faults))
    return [
        (key, message)
        for key, message in first.items()
        if not any(other.startswith((f"{key}[", f"{key}.")) for other in first)
    ]


def _full(path: str) -> str:
    return path if path.startswith("aws:") else f"{NAMESPACE}:{path}"


def explain(error: ErrorDetails) -> Fault:
    """The key and the message of one of pydantic's errors, in a reader's words."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    name = str(error["loc"][-1]) if error["loc"] else ""
    given = error.get("input")
    match error["type"]:
        case "missing":
            return _full(path), f"is required, for example {EXAMPLES[name]}"
        case "extra_forbidden":
            return _full(path), f"is not a setting{_nearest(error['loc'])}"
        case "tuple_type":
            return _full(path), f"must be a list, but is {given!r}: write [{given}]"
        case "value_error":
            message = error["msg"].removeprefix("Value error, ")
            told = isinstance(given, str) and not message.startswith("is given")
            if path in Settings.model_fields:  # a default at fault goes by its Python name
                path = to_camel(path)
            return _full(path), f"{given!r} {message}" if told else message
        case kind if kind in SENTENCES:
            sentence = SENTENCES[kind].format(**error.get("ctx", {}))
            return _full(path), f"{sentence}, but is {given!r}"
    return _full(path), f"{error['msg'][0].lower()}{error['msg'][1:]}, but is {given!r}"


def _nearest(location: tuple[int | str, ...]) -> str:
    """The known key that an unknown one may have meant, in the section where it stands."""
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            section = SECTIONS.get(part, section)
    names = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(names))}"
