"""What a policy document is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Statement = dict[str, Any]


def allow(
    sid: str,
    actions: Sequence[str],
    resources: str | Sequence[str],
    condition: Mapping[str, Any] | None = None,
) -> Statement:
    """Allow these actions with these resources, both in order."""
    listed = resources if isinstance(resources, str) else sorted(set(resources))
    found: Statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions)}
    found["Resource"] = listed
    return found | ({"Condition": dict(condition)} if condition else {})
