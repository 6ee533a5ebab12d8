"""What a registry remembers: scopes, repositories, images; and the media types it knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = frozenset({DOCKER_LIST, OCI_INDEX})
MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One private registry: ECR has one in each account and region."""

    account: str
    region: str

    @property
    def host(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    def arn(self, repository: str) -> str:
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{repository}"


class Image(BaseModel):
    """A manifest that was put into a repository. Its bytes are the blob with the same digest."""

    model_config = ConfigDict(frozen=True)

    digest: str
    media_type: str
    artifact_media_type: str | None = None
    pushed_at: datetime
    #: Compressed bytes of the layers; of an index, those of its biggest member (as ECR counts).
    size_bytes: int
    #: Digests of the config and layers (image), or none (index).
    layers: tuple[str, ...] = ()
    #: Digests of an index's members.
    members: tuple[str, ...] = ()
    subject: str | None = None


class Repository(BaseModel):
    """One repository, and everything ECR keeps with it."""

    name: str
    created_at: datetime
    mutability: str = "MUTABLE"
    mutability_exclusions: list[dict[str, str]] = []
    scan_on_push: bool = False
    encryption: dict[str, Any] = {"encryptionType": "AES256"}
    tags: dict[str, str] = {}
    policy: str | None = None
    lifecycle_policy: str | None = None
    images: dict[str, Image] = {}
    digest_of_tag: dict[str, str] = {}
    #: Layers and configs that this repository holds: digest -> when it was uploaded or mounted.
    layers: dict[str, datetime] = {}
    last_pull: dict[str, datetime] = {}

    def tags_of(self, digest: str) -> list[str]:
        return [tag for tag, tagged in self.digest_of_tag.items() if tagged == digest]
