"""Images of a repository: put, find and delete them, by ECR's rules and with ECR's errors."""

from __future__ import annotations

import fnmatch
import json
import re
from datetime import UTC, datetime
from typing import Any

from local_cloud.errors import AwsError
from local_cloud.registry.blobs import digest_of
from local_cloud.registry.catalogue import Catalogue
from local_cloud.registry.records import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    Repository,
    Scope,
)

#: Tags are as in OCI's distribution specification.
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def find_image(repository: Repository, reference: str) -> Image | None:
    """By tag or by digest."""
    digest = reference if reference.startswith("sha256:") else ""
    return repository.images.get(digest or repository.digest_of_tag.get(reference, ""))


def put_image(
    catalogue: Catalogue,
    scope: Scope,
    name: str,
    content: bytes,
    *,
    tag: str | None,
    media_type: str | None = None,
    now: datetime | None = None,
) -> tuple[Image, bool]:
    """Keep a manifest, and point the tag at it; says whether anything changed.

    All that it refers to must be in the repository. Raises AwsError: RepositoryNotFoundException,
    InvalidParameterException, LayersNotFoundException, ReferencedImagesNotFoundException,
    ImageTagAlreadyExistsException.
    """
    document = _read_manifest(content)
    kind = media_type or _media_type_of(document)
    if tag is not None and TAG.fullmatch(tag) is None:
        raise AwsError("InvalidParameterException", f"The image tag '{tag}' is not valid")
    with catalogue.lock:
        repository = catalogue.get(scope, name)
        image = repository.images.get(digest_of(content)) or _describe(
            catalogue, scope, repository, content, document, kind, now or datetime.now(UTC)
        )
        current = repository.digest_of_tag.get(tag) if tag else None
        if image.digest in repository.images and (tag is None or current == image.digest):
            return image, False
        if tag and current not in (None, image.digest) and is_immutable(repository, tag):
            raise AwsError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{name}' repository and cannot be "
                f"overwritten because the tag is immutable.",
            )
        catalogue.blobs.add(content)
        repository.images[image.digest] = image
        if tag:
            repository.digest_of_tag[tag] = image.digest
        catalogue.save()
        return image, True


def delete_image(catalogue: Catalogue, scope: Scope, name: str, reference: str) -> list[str | None]:
    """Delete a tag (and the image, if it was its last) or, by digest, an image and all its tags.

    Gives the tags that went; a lone None for an untagged image. Layers that no image of the
    repository needs any more go too. Raises AwsError: ImageNotFoundException, or
    ImageReferencedByManifestList when an index of the repository still names the image.
    """
    with catalogue.lock:
        repository = catalogue.get(scope, name)
        image = find_image(repository, reference)
        if image is None:
            raise AwsError("ImageNotFoundException", "Requested image not found")
        tags = repository.tags_of(image.digest)
        if reference in tags and len(tags) > 1:
            del repository.digest_of_tag[reference]
            catalogue.save()
            return [reference]
        indexes = [i.digest for i in repository.images.values() if image.digest in i.members]
        if indexes:
            raise AwsError(
                "ImageReferencedByManifestList",
                f"Requested image referenced by manifest list: [{', '.join(indexes)}]",
            )
        del repository.images[image.digest]
        for tag in tags:
            del repository.digest_of_tag[tag]
        needed = {digest for other in repository.images.values() for digest in other.layers}
        orphans = [d for d in image.layers if d not in needed]
        for digest in orphans:
            repository.layers.pop(digest, None)
        catalogue.save()
        catalogue.free([image.digest, *orphans])
        return list(tags) or [None]


def is_immutable(repository: Repository, tag: str) -> bool:
    """Whether this tag may never move, given the repository's setting and its exclusions."""
    excluded = any(
        fnmatch.fnmatchcase(tag, rule["filter"]) for rule in repository.mutability_exclusions
    )
    return repository.mutability.startswith("IMMUTABLE") != excluded


def _read_manifest(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise AwsError(
            "InvalidParameterException",
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: "
            "'Invalid JSON syntax, or not a manifest of schema version 2'",
        )
    return document


def _media_type_of(document: dict[str, Any]) -> str:
    if "mediaType" in document:
        return str(document["mediaType"])
    if "manifests" in document:
        return OCI_INDEX
    config = document.get("config", {}).get("mediaType", "")
    return DOCKER_MANIFEST if "docker" in config else OCI_MANIFEST


def _describe(
    catalogue: Catalogue,
    scope: Scope,
    repository: Repository,
    content: bytes,
    document: dict[str, Any],
    media_type: str,
    now: datetime,
) -> Image:
    if media_type not in INDEXES | MANIFESTS:
        raise AwsError(
            "InvalidParameterException",
            f"Unsupported manifest media type '{media_type}'; ECR takes {DOCKER_MANIFEST}, "
            f"{DOCKER_LIST}, {OCI_MANIFEST} and {OCI_INDEX}",
        )
    try:
        subject = document.get("subject", {}).get("digest")
        if media_type in INDEXES:
            members = [str(m["digest"]) for m in document["manifests"]]
            layers: list[str] = []
            artifact = document.get("artifactType")
        else:
            members = []
            layers = [str(document["config"]["digest"])]
            layers += [str(layer["digest"]) for layer in document["layers"]]
            artifact = document.get("artifactType") or document["config"]["mediaType"]
    except (KeyError, TypeError, AttributeError) as error:
        raise AwsError(
            "InvalidParameterException", f"The image manifest has no proper {error}"
        ) from error
    where = f"into repository with name '{repository.name}' in the registry with id"
    _require(
        "LayersNotFoundException", "Layers", where, scope, layers, known=set(repository.layers)
    )
    _require(
        "ReferencedImagesNotFoundException", "Images", where, scope, members,
        known=set(repository.images),
    )  # fmt: skip
    if members:
        size = max(repository.images[digest].size_bytes for digest in members)
    else:
        size = sum(catalogue.blobs.size(digest) for digest in layers[1:])
    return Image(
        digest=digest_of(content),
        media_type=media_type,
        artifact_media_type=artifact,
        pushed_at=now,
        size_bytes=size,
        layers=tuple(layers),
        members=tuple(members),
        subject=subject,
    )


def _require(
    code: str, what: str, where: str, scope: Scope, digests: list[str], *, known: set[str]
) -> None:
    missing = sorted(set(digests) - known)
    if missing:
        raise AwsError(
            code,
            f"{what} with digests '[{', '.join(missing)}]' required for pushing image {where} "
            f"'{scope.account}' do not exist",
        )
