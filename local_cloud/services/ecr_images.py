"""ECR's images: described, listed, read, put and deleted through the API."""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.registry import Scope
from local_cloud.registry.blobs import DIGEST, digest_of
from local_cloud.registry.images import TAG, delete_image, find_image, put_image
from local_cloud.registry.records import Image, Repository
from local_cloud.services.ecr import page_of, registry_of

NOT_FOUND = ("ImageNotFound", "Requested image not found")


@handles("ecr", "DescribeImages")
def describe_images(call: Call) -> Params:
    registry, scope = registry_of(call)
    with registry.catalogue.lock:
        repository = registry.catalogue.get(scope, call.params["repositoryName"])
        wanted = call.params.get("imageIds")
        if wanted:
            images = [_get(scope, repository, image_id) for image_id in wanted]
            images = list({image.digest: image for image in images}.values())
        else:
            status = call.params.get("filter", {}).get("tagStatus", "ANY")
            images = [i for i in repository.images.values() if _has(repository, i, status)]
        details = [_detail(scope, repository, image) for image in images]
    return page_of(details, call, "imageDetails")


@handles("ecr", "ListImages")
def list_images(call: Call) -> Params:
    registry, scope = registry_of(call)
    status = call.params.get("filter", {}).get("tagStatus", "ANY")
    found: list[Params] = []
    with registry.catalogue.lock:
        repository = registry.catalogue.get(scope, call.params["repositoryName"])
        for image in repository.images.values():
            if _has(repository, image, status):
                tags: list[str | None] = [*repository.tags_of(image.digest)] or [None]
                found += [_id(image.digest, tag) for tag in tags]
    return page_of(found, call, "imageIds")


@handles("ecr", "BatchGetImage")
def batch_get_image(call: Call) -> Params:
    registry, scope = registry_of(call)
    accepted = call.params.get("acceptedMediaTypes")
    images: list[Params] = []
    failures: list[Params] = []
    with registry.catalogue.lock:
        repository = registry.catalogue.get(scope, call.params["repositoryName"])
        for image_id in call.params["imageIds"]:
            failure = _why_not(repository, image_id)
            image = None if failure else find_image(repository, _reference(image_id))
            if image is None or (accepted and image.media_type not in accepted):
                failures.append(_failure(image_id, *(failure or NOT_FOUND)))
                continue
            images.append(
                {
                    "registryId": scope.account,
                    "repositoryName": repository.name,
                    "imageId": _id(image.digest, image_id.get("imageTag")),
                    "imageManifest": registry.blobs.read(image.digest).decode(),
                    "imageManifestMediaType": image.media_type,
                }
            )
    return {"images": images, "failures": failures}


@handles("ecr", "PutImage")
def put_image_by_api(call: Call) -> Params:
    registry, scope = registry_of(call)
    params = call.params
    content = params["imageManifest"].encode()
    promised, tag = params.get("imageDigest"), params.get("imageTag")
    if promised and promised != digest_of(content):
        raise AwsError(
            "ImageDigestDoesNotMatchException",
            f"Image digest '{promised}' does not match the digest of the manifest, "
            f"'{digest_of(content)}'",
        )
    image, changed = put_image(
        registry.catalogue,
        scope,
        params["repositoryName"],
        content,
        tag=tag,
        media_type=params.get("imageManifestMediaType"),
        now=registry.clock(),
    )
    if not changed:
        raise AwsError(
            "ImageAlreadyExistsException",
            f"Image with digest '{image.digest}' and tag '{tag or 'null'}' already exists in the "
            f"repository with name '{params['repositoryName']}' in registry with id "
            f"'{scope.account}'",
        )
    return {
        "image": {
            "registryId": scope.account,
            "repositoryName": params["repositoryName"],
            "imageId": _id(image.digest, tag),
            "imageManifest": params["imageManifest"],
            "imageManifestMediaType": image.media_type,
        }
    }


@handles("ecr", "BatchDeleteImage")
def batch_delete_image(call: Call) -> Params:
    registry, scope = registry_of(call)
    name = call.params["repositoryName"]
    gone: list[Params] = []
    failures: list[Params] = []
    with registry.catalogue.lock:
        repository = registry.catalogue.get(scope, name)
        for image_id in call.params["imageIds"]:
            failure = _why_not(repository, image_id)
            image = None if failure else find_image(repository, _reference(image_id))
            if failure or image is None:
                failures.append(_failure(image_id, *(failure or NOT_FOUND)))
                continue
            reference = image_id.get("imageTag") or image.digest
            try:
                tags = delete_image(registry.catalogue, scope, name, reference)
            except AwsError as error:
                failures.append(_failure(image_id, error.code, error.message))
            else:
                gone += [_id(image.digest, tag) for tag in tags]
    return {"imageIds": gone, "failures": failures}


def _reference(image_id: Params) -> str:
    return str(image_id.get("imageDigest") or image_id.get("imageTag") or "")


def _why_not(repository: Repository, image_id: Params) -> tuple[str, str] | None:
    """The failure code and reason of an image ID that cannot be meant, or None."""
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    if not digest and not tag:
        return "MissingDigestAndTag", "Invalid request parameters: both tag and digest are missing"
    if digest and DIGEST.fullmatch(digest) is None:
        return "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the "\
            "regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"  # fmt: skip
    if tag and TAG.fullmatch(tag) is None:
        return "InvalidImageTag", f"Invalid request parameters: '{tag}' is no image tag"
    if digest and tag and repository.digest_of_tag.get(tag) != digest:
        return "ImageTagDoesNotMatchDigest", "Requested image tag does not match its digest"
    return None


def _get(scope: Scope, repository: Repository, image_id: Params) -> Image:
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    image = find_image(repository, _reference(image_id))
    if image is None or (digest and tag and repository.digest_of_tag.get(tag) != digest):
        shown = f"{{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}}"
        raise AwsError(
            "ImageNotFoundException",
            f"The image with imageId {shown} does not exist within the repository with name "
            f"'{repository.name}' in the registry with id '{scope.account}'",
        )
    return image


def _has(repository: Repository, image: Image, status: str) -> bool:
    if status == "ANY":
        return True
    return bool(repository.tags_of(image.digest)) == (status == "TAGGED")


def _id(digest: str, tag: str | None) -> Params:
    return {"imageDigest": digest, **({"imageTag": tag} if tag else {})}


def _failure(image_id: Params, code: str, reason: str) -> Params:
    return {"imageId": image_id, "failureCode": code, "failureReason": reason}


def _detail(scope: Scope, repository: Repository, image: Image) -> Params:
    detail: dict[str, Any] = {
        "registryId": scope.account,
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size_bytes,
        "imagePushedAt": image.pushed_at,
        "imageManifestMediaType": image.media_type,
    }
    tags = repository.tags_of(image.digest)
    if tags:
        detail["imageTags"] = tags
    if image.artifact_media_type:
        detail["artifactMediaType"] = image.artifact_media_type
    if image.subject:
        detail["subjectManifestDigest"] = image.subject
    pulled = repository.last_pull.get(image.digest)
    if pulled:
        detail["lastRecordedPullTime"] = pulled
    return detail
