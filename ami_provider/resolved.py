"""A recipe with nothing left to look up: every tag a digest, every model an identity. Pure."""

from __future__ import annotations

import posixpath
from typing import Any

from ami_provider.contents import Frozen
from ami_provider.recipe import AgentSettings, ExtraStep, Family, RootVolume, SystemUpdate

Manifest = dict[str, Any]


class ResolvedBase(Frozen):
    """The base AMI as EC2 describes it. `size_gib` is its root snapshot's volume size."""

    source: str
    ami_id: str
    name: str
    family: Family
    architecture: str
    root_device: str
    size_gib: int


class ResolvedImage(Frozen):
    """A container image by digest. `tag` is what it was found by; layers are compressed bytes."""

    repository: str
    digest: str
    tag: str | None = None
    layer_bytes: tuple[int, ...] | None = None

    @property
    def uri(self) -> str:
        """The one string that the builder pulls and the job definition names."""
        return f"{self.repository}@{self.digest}"

    @property
    def size_bytes(self) -> int | None:
        """What a pull downloads, where ECR told it."""
        return None if self.layer_bytes is None else sum(self.layer_bytes)

    @property
    def label(self) -> str:
        """A short name for people: `batch-processor:latest`."""
        name = self.repository.partition("/")[2]
        return f"{name}:{self.tag}" if self.tag else name


class ResolvedModel(Frozen):
    """One file for the image: where from, where to, and how its bytes are known.

    With `sha256` the builder must find exactly that; without it, S3's version, ETag and size pin
    the object and the builder computes the SHA-256 and records it.
    """

    source: str
    destination: str
    sha256: str | None = None
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        return posixpath.basename(self.destination)

    def identity(self) -> Manifest:
        """What makes this file itself. Where known bytes come from is not part of it."""
        if self.sha256:
            return {"destination": self.destination, "sha256": self.sha256}
        known = {"version_id": self.version_id, "etag": self.etag, "size_bytes": self.size_bytes}
        return {"destination": self.destination, "source": self.source} | {
            key: value for key, value in known.items() if value is not None
        }


class ResolvedRecipe(Frozen):
    """What a bake needs to know of the image. `manifest()` is what its fingerprint is taken of."""

    base: ResolvedBase
    images: tuple[ResolvedImage, ...]
    models: tuple[ResolvedModel, ...] = ()
    extra_steps: tuple[ExtraStep, ...] = ()
    agent: AgentSettings = AgentSettings()
    system_update: SystemUpdate = SystemUpdate()
    root_volume: RootVolume = RootVolume()
    encryption_key: str | None = None

    @property
    def image_bytes(self) -> int:
        """What pulling all images downloads; what nobody told counts as 0."""
        return sum(image.size_bytes or 0 for image in self.images)

    @property
    def model_bytes(self) -> int:
        """Of all models; a size that nobody told counts as 0."""
        return sum(model.size_bytes or 0 for model in self.models)

    def manifest(self) -> Manifest:
        """The image's content in plain, sorted data; extra steps keep their order (they run in it).

        An image counts by repository and digest (jobs name it by both) and once, whatever tags it
        has; a model by destination and SHA-256 wherever its bytes are known, so that a bucket of
        another name changes nothing.
        """
        manifest: Manifest = {
            "base": {"ami_id": self.base.ami_id, "name": self.base.name},
            "images": [
                {"repository": repository, "digest": digest}
                for repository, digest in sorted({(i.repository, i.digest) for i in self.images})
            ],
            "models": sorted(
                (m.identity() for m in self.models), key=lambda item: str(item["destination"])
            ),
            "extra_steps": [{"name": s.name, "sha256": s.sha256} for s in self.extra_steps],
            "agent": self.agent.model_dump(mode="json"),
            "system_update": self._system_update(),
            "root_volume": self.root_volume.model_dump(mode="json", exclude_none=True),
        }
        if self.encryption_key:
            manifest["encryption_key"] = self.encryption_key
        return manifest

    def _system_update(self) -> Manifest:
        if not self.system_update.enabled:
            return {"enabled": False}  # What an update that never runs would hold is no content.
        return {"enabled": True, "hold": list(self.system_update.hold)}
