"""Who gets into the registry: nobody without a token, nor with an old or a foreign one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.registry import Registry, Scope

from .conftest import ACCOUNT, REGION, SCOPE, Plain

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
INVALID = (400, "DENIED", "Your Authorization Token is invalid.")


def as_basic(password: str, user: str = "AWS") -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_login_is_good_for_twelve_hours(ecr: Any, plain: Plain) -> None:
    data = ecr.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == f"https://{HOST}"
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:")
    left = data["expiresAt"] - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12)
    assert plain("GET", "/v2/").status == 200
    assert plain("GET", "/v2/", Host=HOST).status == 200


def test_without_login(stranger: Plain, repository: str) -> None:
    for path in ("/v2/", f"/v2/{repository}/manifests/latest"):
        answer = stranger("GET", path, Host=HOST)
        assert answer.status == 401
        challenge = f'Basic realm="http://{HOST}/",service="ecr.amazonaws.com"'
        assert answer.headers["Www-Authenticate"] == challenge
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("login", [as_basic("nonsense"), as_basic("bm9uc2Vuc2U="), as_basic("")])
def test_a_wrong_token(cloud: Cloud, login: str) -> None:
    assert Plain(cloud.endpoint, login)("GET", "/v2/").error == INVALID


def test_another_user_than_aws_is_no_login(cloud: Cloud) -> None:
    password, _ = cloud.registry.create_token(SCOPE)
    assert Plain(cloud.endpoint, as_basic(password, "root"))("GET", "/v2/").status == 401


def test_an_expired_token(cloud: Cloud, ecr: Any, plain: Plain, repository: str) -> None:
    registry: Registry = cloud.registry
    now = registry.clock
    assert plain("GET", f"/v2/{repository}/tags/list").status == 200
    try:
        registry.clock = lambda: now() + timedelta(hours=12, seconds=1)
        assert plain("GET", f"/v2/{repository}/tags/list").error == (
            403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.",
        )  # fmt: skip
        fresh = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        assert Plain(cloud.endpoint, fresh)("GET", "/v2/").status == 200
    finally:
        registry.clock = now


def test_the_lifetime_can_be_set(cloud: Cloud, ecr: Any) -> None:
    registry: Registry = cloud.registry
    kept = registry.token_lifetime
    try:
        registry.token_lifetime = timedelta(0)
        data = ecr.get_authorization_token()["authorizationData"][0]
    finally:
        registry.token_lifetime = kept
    answer = Plain(cloud.endpoint, data["authorizationToken"])("GET", "/v2/")
    assert answer.error[:2] == (403, "DENIED")


def test_a_token_of_another_region_or_account(cloud: Cloud) -> None:
    elsewhere, _ = cloud.registry.create_token(Scope(account=ACCOUNT, region="us-east-1"))
    assert Plain(cloud.endpoint, as_basic(elsewhere))("GET", "/v2/", Host=HOST).error == INVALID
    foreign, _ = cloud.registry.create_token(Scope(account="999999999999", region=REGION))
    status, code, message = Plain(cloud.endpoint, as_basic(foreign))("GET", "/v2/", Host=HOST).error
    assert (status, code) == (403, "DENIED")
    assert "arn:aws:iam::999999999999:root is not authorized" in message


def test_a_token_outlives_the_process(cloud: Cloud) -> None:
    password, _ = cloud.registry.create_token(SCOPE)
    again = Registry(cloud.root / "registry")
    assert again.tokens.read(password, now=datetime.now(UTC)) == SCOPE
