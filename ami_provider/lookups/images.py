"""Container images: tag -> the digest for the base AMI's architecture, through ECR."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.contents import REPOSITORY, ContainerImage
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import fault_of
from ami_provider.resolved import ResolvedImage

if TYPE_CHECKING:
    from types_boto3_ecr import ECRClient

PLATFORM = {"os": "linux", "architecture": "amd64"}
MEDIA_TYPES = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


def get_image(image: ContainerImage, path: str, aws: Aws) -> ResolvedImage:
    """The image's digest and compressed layer sizes. Raises `FaultsError` below `path`.

    For a multi-architecture index it is the digest of the linux/amd64 image: the job definition
    and the pull have to name the same one.
    """
    found = REPOSITORY.fullmatch(image.repository)
    assert found is not None  # ContainerImage has checked it.
    ecr: ECRClient = aws.client("ecr", found["region"])
    where = {"registryId": found["account"], "repositoryName": found["name"]}
    reference = {"imageTag": image.tag} if image.tag else {"imageDigest": str(image.digest)}
    key = "tag" if image.tag else "digest"
    digest, manifest = _get_manifest(ecr, where, reference, f"{path}.{key}", path, image)
    if "manifests" in manifest:
        digest = _choose_platform(manifest, f"{path}.{key}", image)
        _, manifest = _get_manifest(
            ecr, where, {"imageDigest": digest}, f"{path}.{key}", path, image
        )
    sizes = [int(layer.get("size", 0)) for layer in manifest.get("layers", [])]
    return ResolvedImage(
        repository=image.repository,
        digest=digest,
        tag=image.tag,
        layer_bytes=tuple(sizes) if sizes else None,
    )


def _get_manifest(
    ecr: ECRClient, where: Any, reference: Any, at: str, path: str, image: ContainerImage
) -> tuple[str, dict[str, Any]]:
    name = where["repositoryName"]
    try:
        answer = ecr.batch_get_image(**where, imageIds=[reference], acceptedMediaTypes=MEDIA_TYPES)
    except Exception as error:
        if errors.get_code(error) == "RepositoryNotFoundException":
            raise FaultsError([_no_repository(path, image)]) from None
        if errors.get_code(error) in ("InvalidParameterException", "ImageNotFoundException"):
            raise FaultsError([_no_image(ecr, where, at, image)]) from None
        raise fault_of(
            error, f"{path}.repository", "ecr:BatchGetImage", on=f"repository {name}"
        ) from None
    if not answer["images"]:
        raise FaultsError([_no_image(ecr, where, at, image)])
    found = answer["images"][0]
    return str(found["imageId"]["imageDigest"]), json.loads(found["imageManifest"])


def _choose_platform(index: dict[str, Any], at: str, image: ContainerImage) -> str:
    have = []
    for entry in index["manifests"]:
        platform = entry.get("platform", {})
        if PLATFORM.items() <= platform.items():
            return str(entry["digest"])
        have.append(f"{platform.get('os')}/{platform.get('architecture')}")
    reason = (
        f"{image.tag or image.digest} is an index without linux/amd64 (it has {', '.join(have)}). "
        f"Build the image for linux/amd64 too."
    )
    raise FaultsError([Fault(at, reason)])


def _no_repository(path: str, image: ContainerImage) -> Fault:
    found = REPOSITORY.fullmatch(image.repository)
    assert found is not None
    return Fault(
        f"{path}.repository",
        f"there is no repository {found['name']!r} in account {found['account']}, region "
        f"{found['region']}. Correct the URI, or create it and push the image.",
    )


def _no_image(ecr: ECRClient, where: Any, at: str, image: ContainerImage) -> Fault:
    name = where["repositoryName"]
    tags = _find_tags(ecr, where)
    if image.digest:
        reason = (
            f"repository {name} has no image {image.digest}; it may have expired by the "
            f"repository's lifecycle policy. Push it again or choose another."
        )
        return Fault(at, reason)
    near = difflib.get_close_matches(str(image.tag), tags, n=3, cutoff=0.5)
    if near:
        have = f"The nearest it has: {', '.join(near)}."
    elif tags:
        have = f"It has: {', '.join(tags[:5])}{' …' if len(tags) > 5 else ''}."
    else:
        have = "It has no tagged image at all."
    return Fault(at, f"repository {name} has no tag {image.tag!r}. {have} Push the image, or set "
                 f"another tag.")  # fmt: skip


def _find_tags(ecr: ECRClient, where: Any) -> list[str]:
    """Up to 1,000 tags for the message; none where listing them is not allowed."""
    try:
        answer = ecr.list_images(**where, filter={"tagStatus": "TAGGED"}, maxResults=1000)
    except Exception as error:
        if errors.is_aws_error(error):
            return []
        raise
    return sorted({str(i["imageTag"]) for i in answer["imageIds"] if "imageTag" in i})
