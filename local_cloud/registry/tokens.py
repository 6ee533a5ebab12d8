"""Registry passwords as ECR gives them: bound to an account and region, signed, short-lived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from local_cloud.registry.records import Scope


class InvalidTokenError(Exception):
    """This is no token of ours."""


class ExpiredTokenError(Exception):
    """It was one of ours, but its time is over."""


class Tokens:
    """Makes tokens and reads them back. Nothing is stored but the key that signs them."""

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            draft = key_file.with_suffix(".new")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            draft.replace(key_file)
        self._key = key_file.read_bytes()

    def create(self, scope: Scope, expires: datetime) -> str:
        claims = {
            "account": scope.account,
            "region": scope.region,
            "expiration": expires.timestamp(),
            "nonce": secrets.token_hex(8),
        }
        return self._sign(json.dumps(claims, separators=(",", ":")).encode())

    def read(self, token: str, *, now: datetime) -> Scope:
        """Whose token this is. Raises InvalidTokenError or ExpiredTokenError."""
        claims = json.loads(self._verify(token))
        if now >= datetime.fromtimestamp(claims["expiration"], UTC):
            raise ExpiredTokenError
        return Scope(account=claims["account"], region=claims["region"])

    def sign_url(self, scope: Scope, repository: str, digest: str, expires: datetime) -> str:
        """What a layer's download URL carries instead of a login."""
        claims = [scope.account, scope.region, repository, digest, expires.timestamp()]
        return self._sign(json.dumps(claims, separators=(",", ":")).encode())

    def read_url(self, token: str, *, now: datetime) -> tuple[Scope, str, str]:
        """The repository and layer that `sign_url` allowed. Raises as `read` does."""
        account, region, repository, digest, expires = json.loads(self._verify(token))
        if now >= datetime.fromtimestamp(expires, UTC):
            raise ExpiredTokenError
        return Scope(account=account, region=region), repository, digest

    def _sign(self, claims: bytes) -> str:
        signature = hmac.new(self._key, claims, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(signature + claims).decode()

    def _verify(self, token: str) -> bytes:
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except ValueError as error:
            raise InvalidTokenError from error
        signature, claims = raw[:32], raw[32:]
        if not hmac.compare_digest(signature, hmac.new(self._key, claims, hashlib.sha256).digest()):
            raise InvalidTokenError
        return claims
