"""EC2's filters and pages over boto3-shaped dictionaries."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError
from local_cloud.services.ec2_model import timestamp_text

#: A path such as `BlockDeviceMappings[].Ebs.VolumeId`, or a function that gives the values.
Where = str | Callable[[Params], Iterable[Any]]


def filtered(
    call: Call, items: Iterable[Params], fields: Mapping[str, Where], action: str
) -> list[Params]:
    """Copies of the items that every filter of the call lets through.

    Values may hold `*` and `?`. A filter that this cloud does not know is an error, as in EC2.
    """
    kept = list(items)
    for one in call.params.get("Filters", []):
        name, values = one.get("Name", ""), one.get("Values", [])
        find = _finder(name, fields, action)
        patterns = [_pattern(value) for value in values]
        kept = [
            item
            for item in kept
            if any(p.fullmatch(text) for text in map(_text, find(item)) for p in patterns)
        ]
    return copy.deepcopy(kept)


def _finder(
    name: str, fields: Mapping[str, Where], action: str
) -> Callable[[Params], Iterable[Any]]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [t["Value"] for t in item.get("Tags", []) if t["Key"] == key]
    if name == "tag-key":
        return lambda item: [t["Key"] for t in item.get("Tags", [])]
    if name == "tag-value":
        return lambda item: [t["Value"] for t in item.get("Tags", [])]
    where = fields.get(name)
    if where is None:
        raise AwsError(
            "InvalidParameterValue",
            f"The filter '{name}' is invalid (or not one that the local cloud knows for {action})",
        )
    if callable(where):
        return where
    return lambda item: at_path(item, where)


def at_path(item: Any, path: str) -> list[Any]:
    """Every value at a dotted path; `[]` after a name goes through a list."""
    found = [item]
    for part in path.split("."):
        name = part.removesuffix("[]")
        found = [one[name] for one in found if isinstance(one, dict) and one.get(name) is not None]
        if part.endswith("[]"):
            found = [element for one in found for element in one]
    return found


def _pattern(value: str) -> re.Pattern[str]:
    parts = re.split(r"(\\.|\*|\?)", value)
    pieces = {"*": ".*", "?": "."}
    return re.compile(
        "".join(pieces.get(p, re.escape(p[1:] if p.startswith("\\") else p)) for p in parts),
        re.DOTALL,
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return timestamp_text(value)
    return str(value)


def page(call: Call, items: list[Params], key: str) -> Params:
    """One page of the items under `key`, with NextToken when there are more."""
    token, size = call.params.get("NextToken"), call.params.get("MaxResults")
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("at:"))
        except ValueError:
            raise AwsError(
                "InvalidParameterValue", f"Invalid value for nextToken: {token}"
            ) from None
    if not size:
        return {key: items[start:]}
    answer: Params = {key: items[start : start + size]}
    if start + size < len(items):
        answer["NextToken"] = base64.urlsafe_b64encode(f"at:{start + size}".encode()).decode()
    return answer
