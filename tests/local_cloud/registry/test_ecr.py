"""ECR's API over the same images that containers are pulled from."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.registry import Registry
from local_cloud.registry.blobs import digest_of
from local_cloud.registry.records import DOCKER_CONFIG, DOCKER_MANIFEST

from .conftest import ACCOUNT, REGION, SCOPE, Plain, client

MIB = 1024 * 1024


def code_of(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_a_repository_s_life(ecr: Any) -> None:
    made = ecr.create_repository(
        repositoryName="life/one",
        tags=[{"Key": "team", "Value": "vision"}],
        imageScanningConfiguration={"scanOnPush": True},
    )["repository"]
    assert made["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/life/one"
    assert made["repositoryArn"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/life/one"
    assert (made["registryId"], made["imageTagMutability"]) == (ACCOUNT, "MUTABLE")
    assert code_of(ecr.create_repository, repositoryName="life/one") == (
        "RepositoryAlreadyExistsException"
    )
    assert ecr.describe_repositories(repositoryNames=["life/one"])["repositories"] == [made]
    arn = made["repositoryArn"]
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "more", "Value": "1"}])
    ecr.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "more", "Value": "1"}]
    ecr.delete_repository(repositoryName="life/one")
    assert code_of(ecr.delete_repository, repositoryName="life/one") == (
        "RepositoryNotFoundException"
    )


def test_repositories_are_each_region_s_own(cloud: Cloud, ecr: Any, repository: str) -> None:
    elsewhere = client(cloud, "ecr", region="us-east-1")
    assert code_of(elsewhere.describe_images, repositoryName=repository) == (
        "RepositoryNotFoundException"
    )
    assert elsewhere.describe_repositories()["repositories"] == []


@pytest.mark.parametrize("name", ["Upper", "a", "-a", "a//b", "a..b", "a/", "b" * 257])
def test_a_bad_name(cloud: Cloud, name: str) -> None:
    lax = client(cloud, "ecr", parameter_validation=False)
    assert code_of(lax.create_repository, repositoryName=name) == "InvalidParameterException"


def test_a_repository_with_images_is_deleted_by_force_only(
    cloud: Cloud, ecr: Any, plain: Plain, repository: str
) -> None:
    digest, _ = plain.put_image(repository, "v1", "forced")
    assert code_of(ecr.delete_repository, repositoryName=repository) == (
        "RepositoryNotEmptyException"
    )
    ecr.delete_repository(repositoryName=repository, force=True)
    assert cloud.registry.blobs.find(digest) is None


def test_a_pushed_image_is_described(ecr: Any, plain: Plain, repository: str) -> None:
    digest, manifest = plain.put_image(repository, "v1")
    plain.put_image(repository, "v1-again")
    [detail] = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert detail["imageDigest"] == digest
    assert sorted(detail["imageTags"]) == ["v1", "v1-again"]
    assert detail["imageSizeInBytes"] == manifest["layers"][0]["size"]
    assert detail["imageManifestMediaType"] == DOCKER_MANIFEST
    assert detail["artifactMediaType"] == DOCKER_CONFIG
    assert "lastRecordedPullTime" not in detail
    plain("GET", f"/v2/{repository}/manifests/v1")
    by_tag = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "v1"}])
    assert "lastRecordedPullTime" in by_tag["imageDetails"][0]
    with pytest.raises(ClientError) as caught:
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "none"}])
    error = caught.value.response["Error"]
    assert error["Code"] == "ImageNotFoundException"
    assert error["Message"] == (
        "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the "
        f"repository with name '{repository}' in the registry with id '{ACCOUNT}'"
    )


def test_lists_in_pages_and_by_tag_status(ecr: Any, plain: Plain, repository: str) -> None:
    old, _ = plain.put_image(repository, "moving", "old")
    new, _ = plain.put_image(repository, "moving", "new")
    for number in range(4):
        plain.put_image(repository, f"t{number}", f"text {number}")
    pages = ecr.get_paginator("list_images").paginate(
        repositoryName=repository, PaginationConfig={"PageSize": 2}
    )
    found = [image for page in pages for image in page["imageIds"]]
    assert len(found) == 6
    assert {"imageDigest": old} in found
    assert {"imageDigest": new, "imageTag": "moving"} in found
    untagged = ecr.list_images(repositoryName=repository, filter={"tagStatus": "UNTAGGED"})
    assert untagged["imageIds"] == [{"imageDigest": old}]
    tagged = ecr.describe_images(repositoryName=repository, filter={"tagStatus": "TAGGED"})
    assert len(tagged["imageDetails"]) == 5


def test_batch_get_image(ecr: Any, plain: Plain, repository: str) -> None:
    digest, manifest = plain.put_image(repository, "v1")
    other, _ = plain.put_image(repository, "v2", "other")
    wanted: list[dict[str, str]] = [
        {"imageTag": "v1"}, {"imageDigest": digest}, {"imageTag": "none"},
        {"imageTag": "v1", "imageDigest": other}, {}, {"imageDigest": "sha256:1"},
    ]  # fmt: skip
    got = ecr.batch_get_image(repositoryName=repository, imageIds=wanted)
    assert [image["imageId"] for image in got["images"]] == [
        {"imageDigest": digest, "imageTag": "v1"}, {"imageDigest": digest},
    ]  # fmt: skip
    assert json.loads(got["images"][0]["imageManifest"]) == manifest
    assert digest_of(got["images"][0]["imageManifest"].encode()) == digest
    assert [failure["failureCode"] for failure in got["failures"]] == [
        "ImageNotFound", "ImageTagDoesNotMatchDigest", "MissingDigestAndTag", "InvalidImageDigest",
    ]  # fmt: skip
    refused = ecr.batch_get_image(
        repositoryName=repository, imageIds=[{"imageTag": "v1"}],
        acceptedMediaTypes=["application/vnd.oci.image.manifest.v1+json"],
    )  # fmt: skip
    assert refused["images"] == []


def test_an_image_pushed_through_the_api_is_pulled(ecr: Any, plain: Plain, repository: str) -> None:
    layer = os.urandom(6 * MIB + 10)
    digest = digest_of(layer)
    started = ecr.initiate_layer_upload(repositoryName=repository)
    assert started["partSize"] == 20 * MIB
    same = {"repositoryName": repository, "uploadId": started["uploadId"]}
    cut = 5 * MIB
    for first, part in ((0, layer[:cut]), (cut, layer[cut:])):
        answer = ecr.upload_layer_part(
            **same, partFirstByte=first, partLastByte=first + len(part) - 1, layerPartBlob=part
        )
        assert answer["lastByteReceived"] == first + len(part) - 1
    assert code_of(
        ecr.upload_layer_part, **same, partFirstByte=0, partLastByte=0, layerPartBlob=b"x"
    ) == "InvalidLayerPartException"  # fmt: skip
    wrong = [digest_of(b"")]
    assert code_of(ecr.complete_layer_upload, **same, layerDigests=wrong) == "InvalidLayerException"
    done = ecr.complete_layer_upload(**same, layerDigests=[digest])
    assert done["layerDigest"] == digest
    config = plain.put_blob(repository, b"{}")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": 2, "digest": config},
            "layers": [{"mediaType": "x", "size": len(layer), "digest": digest}],
        }
    )
    put = {"repositoryName": repository, "imageManifest": manifest, "imageTag": "api"}
    assert code_of(ecr.put_image, **put, imageDigest=digest) == "ImageDigestDoesNotMatchException"
    image = ecr.put_image(**put)["image"]
    assert image["imageId"]["imageDigest"] == digest_of(manifest.encode())
    assert code_of(ecr.put_image, **put) == "ImageAlreadyExistsException"
    assert plain("GET", f"/v2/{repository}/manifests/api").body == manifest.encode()
    assert plain("GET", f"/v2/{repository}/blobs/{digest}").body == layer


def test_layers_that_are_missing(ecr: Any, plain: Plain, repository: str) -> None:
    manifest = plain.make_manifest(repository, "x")
    there, missing = manifest["layers"][0]["digest"], digest_of(b"missing")
    found = ecr.batch_check_layer_availability(
        repositoryName=repository, layerDigests=[there, missing, "sha256:1"]
    )
    assert [layer["layerAvailability"] for layer in found["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
    assert found["layers"][0]["layerSize"] == manifest["layers"][0]["size"]
    assert found["failures"][0]["failureCode"] == "InvalidLayerDigest"
    manifest["layers"][0]["digest"] = missing
    put = {"repositoryName": repository, "imageManifest": json.dumps(manifest)}
    assert code_of(ecr.put_image, **put) == "LayersNotFoundException"
    assert code_of(ecr.put_image, **(put | {"imageManifest": "{}"})) == "InvalidParameterException"
    index = {"schemaVersion": 2, "manifests": [{"digest": missing}]}
    put["imageManifest"] = json.dumps(index)
    assert code_of(ecr.put_image, **put) == "ReferencedImagesNotFoundException"
    assert code_of(
        ecr.get_download_url_for_layer, repositoryName=repository, layerDigest=missing
    ) == "LayersNotFoundException"  # fmt: skip


def test_uploads_that_fail(ecr: Any, repository: str) -> None:
    started = ecr.initiate_layer_upload(repositoryName=repository)
    same = {"repositoryName": repository, "uploadId": started["uploadId"]}
    any_digest = [digest_of(b"")]
    assert code_of(ecr.complete_layer_upload, **same, layerDigests=any_digest) == (
        "EmptyUploadException"
    )
    for first in (0, 1):
        ecr.upload_layer_part(**same, partFirstByte=first, partLastByte=first, layerPartBlob=b"x")
    digests = [digest_of(b"xx")]
    assert code_of(ecr.complete_layer_upload, **same, layerDigests=digests) == (
        "LayerPartTooSmallException"
    )
    same["uploadId"] = "00000000-0000-0000-0000-000000000000"
    assert code_of(ecr.complete_layer_upload, **same, layerDigests=digests) == (
        "UploadNotFoundException"
    )


def test_a_layer_s_download_address(ecr: Any, plain: Plain, repository: str) -> None:
    content = os.urandom(1000)
    digest = plain.put_blob(repository, content)
    got = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)
    with urllib.request.urlopen(got["downloadUrl"]) as answer:
        assert answer.read() == content
    forged = got["downloadUrl"].replace("Token=", "Token=A")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(forged)
    assert caught.value.code == 403
    caught.value.close()


def test_deleting_a_tag_or_an_image(ecr: Any, plain: Plain, repository: str) -> None:
    digest, _ = plain.put_image(repository, "a")
    for tag in ("b", "c"):
        plain.put_image(repository, tag)
    gone = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "a"}])
    assert gone["imageIds"] == [{"imageDigest": digest, "imageTag": "a"}]
    [detail] = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert sorted(detail["imageTags"]) == ["b", "c"]
    gone = ecr.batch_delete_image(
        repositoryName=repository, imageIds=[{"imageDigest": digest}, {"imageTag": "z"}]
    )
    assert {image["imageTag"] for image in gone["imageIds"]} == {"b", "c"}
    assert gone["failures"][0]["failureCode"] == "ImageNotFound"
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []


def test_tags_that_never_move(ecr: Any, plain: Plain, repository: str) -> None:
    ecr.put_image_tag_mutability(
        repositoryName=repository,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "latest*"}],
    )
    for tag in ("v1", "latest"):
        plain.put_image(repository, tag, "first")
    second = json.dumps(plain.make_manifest(repository, "second"))
    put = {"repositoryName": repository, "imageManifest": second}
    ecr.put_image(**put, imageTag="latest")
    assert code_of(ecr.put_image, **put, imageTag="v1") == "ImageTagAlreadyExistsException"


def test_policies(ecr: Any, repository: str) -> None:
    same = {"repositoryName": repository}
    rule = {
        "rulePriority": 1,
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": 14,
        },
        "action": {"type": "expire"},
    }
    text = json.dumps({"rules": [rule]})
    assert code_of(ecr.get_lifecycle_policy, **same) == "LifecyclePolicyNotFoundException"
    ecr.put_lifecycle_policy(**same, lifecyclePolicyText=text)
    assert ecr.get_lifecycle_policy(**same)["lifecyclePolicyText"] == text
    ecr.delete_lifecycle_policy(**same)
    assert code_of(ecr.get_lifecycle_policy, **same) == "LifecyclePolicyNotFoundException"
    assert code_of(ecr.get_repository_policy, **same) == "RepositoryPolicyNotFoundException"
    ecr.set_repository_policy(**same, policyText=text)
    assert ecr.get_repository_policy(**same)["policyText"] == text
    assert code_of(ecr.set_repository_policy, **same, policyText="{") == "InvalidParameterException"


def test_what_is_not_modelled_says_so(ecr: Any, repository: str) -> None:
    image = {"imageTag": "v1"}
    assert code_of(ecr.start_image_scan, repositoryName=repository, imageId=image) == (
        "NotImplemented"
    )
    assert code_of(ecr.describe_registry) == "NotImplemented"


def test_everything_is_there_after_a_restart(cloud: Cloud, plain: Plain, repository: str) -> None:
    digest, manifest = plain.put_image(repository, "kept")
    again = Registry(cloud.root / "registry")
    kept = again.catalogue.get(SCOPE, repository)
    assert kept == cloud.registry.catalogue.get(SCOPE, repository)
    assert kept.digest_of_tag == {"kept": digest}
    layer = again.blobs.find(manifest["layers"][0]["digest"])
    assert layer is not None
    assert "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest() in kept.layers
