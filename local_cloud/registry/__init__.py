"""A container registry that speaks OCI's distribution protocol and keeps its blobs on disk: ECR."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local_cloud.registry.blobs import BlobStore
from local_cloud.registry.catalogue import Catalogue
from local_cloud.registry.oci import App
from local_cloud.registry.records import Scope
from local_cloud.registry.tokens import Tokens

#: ECR user guide, "Private registry authentication": a token is good for 12 hours.
TOKEN_LIFETIME = timedelta(hours=12)


class Registry:
    """Every account's and region's repositories, below one folder that outlives the process.

    `app` is the WSGI application for all that lies under `/v2/`. Requests to a name like
    `ACCOUNT.dkr.ecr.REGION.amazonaws.com` meet that account and region, others those of the token.
    Tokens last twelve hours, or LOCAL_CLOUD_TOKEN_SECONDS.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        seconds = os.environ.get("LOCAL_CLOUD_TOKEN_SECONDS")
        self.token_lifetime = timedelta(seconds=float(seconds)) if seconds else TOKEN_LIFETIME
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.blobs = BlobStore(folder)
        self.catalogue = Catalogue(folder / "catalogue.json", self.blobs)
        self.tokens = Tokens(folder / "token-key")
        self.app = App(self.catalogue, self.tokens, clock=lambda: self.clock())

    def create_token(self, scope: Scope) -> tuple[str, datetime]:
        """A password for the user `AWS` in this account and region, and the moment it ends."""
        expires = self.clock() + self.token_lifetime
        return self.tokens.create(scope, expires), expires


__all__ = ["TOKEN_LIFETIME", "Registry", "Scope"]
