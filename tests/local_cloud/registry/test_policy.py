"""Bucket policies judged, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_cloud.objects.policy import Question, judge

ROLE = "arn:aws:iam::123456789012:role/builder"
ACCOUNT = "arn:aws:iam::123456789012:root"


def statement(**changes: Any) -> dict[str, Any]:
    base = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def ask(*statements: dict[str, Any], **changes: Any) -> str:
    asked: dict[str, Any] = {
        "action": "s3:GetObject", "resource": "arn:aws:s3:::b/models/a.pt",
        "principals": ("123456789012", ACCOUNT, ROLE),
    }  # fmt: skip
    return judge(json.dumps({"Statement": list(statements)}), Question(**(asked | changes)))


@pytest.mark.parametrize(
    ("changes", "applies"),
    [
        ({}, True),
        ({"Action": "s3:*"}, True),
        ({"Action": ["s3:Put*", "s3:getobject"]}, True),
        ({"Action": "s3:Get"}, False),
        ({"Action": None, "NotAction": "s3:Put*"}, True),
        ({"Action": None, "NotAction": "s3:Get*"}, False),
        ({"Resource": "arn:aws:s3:::b"}, False),
        ({"Resource": "arn:aws:s3:::b/models/?.pt"}, True),
        ({"Resource": "arn:aws:s3:::b/models/[a].pt"}, False),
        ({"Resource": None, "NotResource": "arn:aws:s3:::b/other/*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ROLE}}, True),
        ({"Principal": {"AWS": [ACCOUNT]}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::999999999999:root"}}, False),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": ROLE}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": False}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}, False),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}, True),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}}, True),
        ({"Condition": {"Null": {"aws:SourceVpce": "true"}}}, True),
        ({"Condition": {"StringLike": {"s3:prefix": ["x/*", "models/*"]}}}, True),
        ({"Condition": {"StringNotLike": {"s3:prefix": "models/*"}}}, False),
        (
            {
                "Condition": {
                    "StringLike": {"s3:prefix": "models/*"},
                    "Bool": {"aws:SecureTransport": "false"},
                }
            },
            False,
        ),
    ],
)
def test_which_requests_a_statement_is_about(changes: dict[str, Any], applies: bool) -> None:
    context = {"aws:securetransport": "true", "s3:prefix": "models/"}
    for effect, verdict in (("Allow", "allow"), ("Deny", "deny")):
        said = ask(statement(**changes, Effect=effect), context=context)
        assert said == (verdict if applies else "neither")


def test_a_deny_wins_whatever_the_order() -> None:
    both = [statement(), statement(Effect="Deny")]
    assert ask(*both) == ask(*reversed(both)) == "deny"


def test_the_anonymous_are_only_everybody() -> None:
    assert ask(statement(), principals=()) == "allow"
    assert ask(statement(Principal={"AWS": ACCOUNT}), principals=()) == "neither"
