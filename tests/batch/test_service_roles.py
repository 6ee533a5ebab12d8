"""Service-linked roles: looked for, made when missing, never made twice, never deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch.service_roles import ServiceRolesProvider, ensure_role
from batch.waiting import BatchError
from local_cloud.cloud import Cloud
from tests.local_cloud.conftest import client_of

SPOT = "spot.amazonaws.com"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(real=False, say=lambda _: None) as one:
        yield one


def made(cloud: Cloud) -> int:
    return sum(one["action"] == "CreateServiceLinkedRole" for one in cloud.calls.read())


def test_a_missing_role_is_made_once(cloud: Cloud) -> None:
    iam = client_of(cloud.endpoint, "iam")
    ensure_role(iam, SPOT)
    assert iam.get_role(RoleName="AWSServiceRoleForEC2Spot")["Role"]["Path"].endswith(f"{SPOT}/")
    ensure_role(iam, SPOT)
    assert made(cloud) == 1


class Iam:
    """IAM that answers each action with the next of a list: None for success, or a code."""

    def __init__(self, **answers: list[str | None]) -> None:
        self.answers = answers

    def _answer(self, action: str) -> None:
        code = self.answers[action].pop(0)
        if code:
            raise ClientError({"Error": {"Code": code, "Message": "told so"}}, action)

    def get_role(self, **_: Any) -> None:
        self._answer("get")

    def create_service_linked_role(self, **_: Any) -> None:
        self._answer("create")


def test_a_role_that_somebody_else_makes_at_the_same_moment_is_fine() -> None:
    ensure_role(Iam(get=["NoSuchEntity", None], create=["InvalidInput"]), SPOT)


@pytest.mark.parametrize(
    ("iam", "told"),
    [
        (Iam(get=["AccessDenied"]), "Allow iam:GetRole to whoever runs this"),
        (
            Iam(get=["NoSuchEntity"], create=["AccessDenied"]),
            "AWSServiceRoleForEC2Spot: .* Allow iam:CreateServiceLinkedRole",
        ),
    ],
)
def test_a_missing_permission_is_named(iam: Iam, told: str) -> None:
    with pytest.raises(BatchError, match=told):
        ensure_role(iam, SPOT)


def test_another_service_makes_it_anew_and_a_service_less_changes_nothing() -> None:
    provider, one = ServiceRolesProvider(), {"services": [SPOT], "region": "r"}
    both = {"services": ["batch.amazonaws.com", SPOT], "region": "r"}
    assert provider.diff("x", one, both).replaces == ["services"]
    assert provider.diff("x", both, one).changes is False
