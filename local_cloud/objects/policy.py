"""What a bucket's policy allows or denies a caller; what it cannot judge, it refuses to."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from local_cloud.errors import AwsError, not_modelled

Verdict = Literal["allow", "deny", "neither"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """May this caller do this? `principals` are all names the caller goes by; empty: anonymous."""

    action: str
    resource: str
    principals: tuple[str, ...]
    context: dict[str, str] = field(default_factory=dict)


def check_policy(policy: bytes) -> None:
    """Raises AwsError: MalformedPolicy for no policy, 501 for one that could not be judged here."""
    try:
        statements = _list(json.loads(policy)["Statement"])
        effects = {statement["Effect"] for statement in statements}
        conditions = [statement.get("Condition", {}) for statement in statements]
        named = [(operator, key) for one in conditions for operator in one for key in one[operator]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AwsError(
            "MalformedPolicy", f"This policy contains invalid Json or lacks an element: {error}"
        ) from error
    if not effects <= {"Allow", "Deny"}:
        raise AwsError("MalformedPolicy", f"Invalid effect: {', '.join(sorted(effects))}")
    if b"${" in policy:
        raise not_modelled("variables (${…}) in a bucket policy")
    for operator, key in named:
        _check_condition(operator, key)


def judge(policy: str, question: Question) -> Verdict:
    """A deny wins over any allow. The policy is one that `check_policy` has let in."""
    found: Verdict = "neither"
    for statement in _list(json.loads(policy)["Statement"]):
        if not _applies(statement, question):
            continue
        if statement["Effect"] == "Deny":
            return "deny"
        found = "allow"
    return found


def _applies(statement: dict[str, Any], question: Question) -> bool:
    if "NotAction" in statement:
        if _matches(statement["NotAction"], [question.action.lower()], lower=True):
            return False
    elif not _matches(statement.get("Action", []), [question.action.lower()], lower=True):
        return False
    if "NotResource" in statement:
        if _matches(statement["NotResource"], [question.resource]):
            return False
    elif not _matches(statement.get("Resource", []), [question.resource]):
        return False
    if "NotPrincipal" in statement:
        if _is_principal(statement["NotPrincipal"], question):
            return False
    elif not _is_principal(statement.get("Principal", []), question):
        return False
    return all(
        _holds(operator, key, _list(values), question)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _check_condition(operator: str, key: str) -> None:
    kind = operator.removesuffix("IfExists")
    if kind not in _CONDITIONS or key.lower() not in KNOWN_KEYS:
        raise not_modelled(f"the bucket policy condition {operator} on {key}")


def _is_principal(named: Any, question: Question) -> bool:
    if named == "*":
        return True
    names = _list(named.get("AWS", [])) if isinstance(named, dict) else []
    return "*" in names or any(name in question.principals for name in names)


def _holds(operator: str, key: str, wanted: list[str], question: Question) -> bool:
    if_exists = operator.endswith("IfExists")
    actual = question.context.get(key.lower())
    kind = operator.removesuffix("IfExists")
    if kind == "Null":
        return (actual is None) == (str(wanted[0]).lower() == "true")
    if actual is None:
        return if_exists or kind.startswith(("StringNot", "ArnNot"))
    texts = [str(value) for value in wanted]
    if kind == "Bool":
        return actual.lower() == texts[0].lower()
    same = _matches(texts, [actual]) if "Like" in kind or "Arn" in kind else actual in texts
    return same != ("Not" in kind)


_CONDITIONS = {
    "Bool", "StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "ArnEquals",
    "ArnLike", "ArnNotEquals", "ArnNotLike", "Null",
}  # fmt: skip
#: The condition keys that a caller of the local cloud has a value for, or surely has none.
KNOWN_KEYS = {
    "aws:securetransport", "aws:principalaccount", "aws:principalarn", "aws:principalorgid",
    "aws:sourcevpce", "aws:sourcevpc", "s3:prefix", "s3:x-amz-acl",
    "s3:x-amz-server-side-encryption",
}  # fmt: skip


def _matches(patterns: Any, values: Iterable[str], *, lower: bool = False) -> bool:
    for pattern in _list(patterns):
        # Policies have no character classes: a bracket is only a bracket.
        escaped = pattern.replace("[", "[[]")
        for value in values:
            if fnmatch.fnmatchcase(value, escaped.lower() if lower else escaped):
                return True
    return False


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
