"""The distribution protocol: pushes, pulls, ranges, mounts, tags, deletes."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.registry.blobs import digest_of
from local_cloud.registry.records import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX

from .conftest import Plain


def put(plain: Plain, name: str, reference: str, manifest: dict[str, Any], **headers: str) -> Any:
    kind = manifest["mediaType"]
    path = f"/v2/{name}/manifests/{reference}"
    return plain("PUT", path, body=json.dumps(manifest).encode(), Content_Type=kind, **headers)


def test_a_pull_by_tag_and_by_digest(plain: Plain, repository: str) -> None:
    digest, manifest = plain.put_image(repository, "v1")
    for reference in ("v1", digest):
        path = f"/v2/{repository}/manifests/{reference}"
        got, head = plain("GET", path), plain("HEAD", path)
        assert json.loads(got.body) == manifest
        assert digest_of(got.body) == digest
        for answer in (got, head):
            assert answer.status == 200
            assert answer.headers["Docker-Content-Digest"] == digest
            assert answer.headers["Content-Type"] == DOCKER_MANIFEST
            assert answer.headers["Content-Length"] == str(len(got.body))
        assert head.body == b""


def test_content_negotiation(plain: Plain, repository: str) -> None:
    plain.put_image(repository, "v1")
    path = f"/v2/{repository}/manifests/v1"
    assert plain("GET", path, Accept=f"{OCI_INDEX}, {DOCKER_MANIFEST}").status == 200
    assert plain("GET", path, Accept="*/*").status == 200
    assert plain("GET", path, Accept=OCI_INDEX).error[:2] == (404, "MANIFEST_UNKNOWN")


def test_an_upload_in_chunks(plain: Plain, repository: str) -> None:
    content = os.urandom(100_000)
    started = plain("POST", f"/v2/{repository}/blobs/uploads/")
    assert started.status == 202
    where = started.headers["Location"]
    first = plain("PATCH", where, body=content[:60_000], Content_Range="0-59999")
    assert (first.status, first.headers["Range"]) == (202, "0-59999")
    assert plain("GET", where).headers["Range"] == "0-59999"
    gap = plain("PATCH", where, body=content[60_001:], Content_Range="60001-99999")
    assert (gap.status, gap.headers["Range"]) == (416, "0-59999")
    pieces = iter([content[60_000:80_000], content[80_000:]])
    assert plain("PATCH", where, body=pieces).headers["Range"] == "0-99999"
    done = plain("PUT", f"{where}?digest={digest_of(content)}")
    assert done.status == 201
    assert done.headers["Location"] == f"/v2/{repository}/blobs/{digest_of(content)}"
    assert plain("GET", done.headers["Location"]).body == content
    assert plain("GET", where).error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_wrong_digest_is_refused(cloud: Cloud, plain: Plain, repository: str) -> None:
    wrong = digest_of(b"other")
    answer = plain("POST", f"/v2/{repository}/blobs/uploads/?digest={wrong}", body=b"content")
    assert answer.error[:2] == (400, "DIGEST_INVALID")
    assert cloud.registry.blobs.find(digest_of(b"content")) is None
    assert plain("HEAD", f"/v2/{repository}/blobs/{wrong}").status == 404
    answer = plain("POST", f"/v2/{repository}/blobs/uploads/?digest=md5:12", body=b"content")
    assert answer.error[:2] == (400, "DIGEST_INVALID")
    manifest = plain.make_manifest(repository, "x")
    assert put(plain, repository, wrong, manifest).error[:2] == (400, "DIGEST_INVALID")


def test_an_upload_can_be_cancelled(cloud: Cloud, plain: Plain, repository: str) -> None:
    where = plain("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
    assert plain("PATCH", where, body=b"some").status == 202
    assert plain("DELETE", where).status == 204
    assert plain("PUT", f"{where}?digest={digest_of(b'some')}").status == 404
    assert list((cloud.root / "registry" / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=9000-", 206, 9000, 10_000),
        ("bytes=-10", 206, 9990, 10_000),
        ("bytes=9990-20000", 206, 9990, 10_000),
        ("bytes=10000-", 416, 0, 0),
    ],
)
def test_ranges_of_a_layer(
    plain: Plain, repository: str, wanted: str, status: int, start: int, stop: int
) -> None:
    content = os.urandom(10_000)
    digest = plain.put_blob(repository, content)
    answer = plain("GET", f"/v2/{repository}/blobs/{digest}", Range=wanted)
    assert answer.status == status
    if status == 206:
        assert answer.body == content[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10000"


def test_a_layer_is_mounted_from_another_repository(
    plain: Plain, repository: str, ecr: Any
) -> None:
    ecr.create_repository(repositoryName="giver")
    digest = plain.put_blob("giver", b"shared")
    path = f"/v2/{repository}/blobs/{digest}"
    assert plain("HEAD", path).status == 404  # not visible before it is mounted
    mount = f"/v2/{repository}/blobs/uploads/?mount={digest}&from="
    assert plain("POST", mount + "nobody").status == 202  # an upload begins instead
    assert plain("POST", mount + "giver").status == 201
    assert plain("GET", path).body == b"shared"
    ecr.delete_repository(repositoryName="giver", force=True)
    assert plain("GET", path).body == b"shared"


def test_what_is_missing_is_named(plain: Plain, repository: str) -> None:
    assert plain("GET", "/v2/nowhere/manifests/latest").error == (
        404, "NAME_UNKNOWN",
        "The repository with name 'nowhere' does not exist in the registry with id '123456789012'",
    )  # fmt: skip
    assert plain("POST", "/v2/nowhere/blobs/uploads/").error[:2] == (404, "NAME_UNKNOWN")
    assert plain("GET", f"/v2/{repository}/manifests/none").error == (
        404, "MANIFEST_UNKNOWN", "Requested image not found",
    )  # fmt: skip
    missing = digest_of(b"never pushed")
    assert plain("GET", f"/v2/{repository}/blobs/{missing}").error[:2] == (404, "BLOB_UNKNOWN")
    manifest = plain.make_manifest(repository, "x")
    manifest["layers"][0]["digest"] = missing
    status, code, message = put(plain, repository, "v1", manifest).error
    assert (status, code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert f"Layers with digests '[{missing}]' required for pushing image" in message


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"schemaVersion": 1}', b"{}"])
def test_a_broken_manifest_is_refused(plain: Plain, repository: str, body: bytes) -> None:
    answer = plain("PUT", f"/v2/{repository}/manifests/v1", body=body)
    assert answer.error[:2] == (400, "MANIFEST_INVALID")


def test_tags_in_pages(plain: Plain, repository: str) -> None:
    for tag in ("c", "a", "b"):
        plain.put_image(repository, tag)
    path = f"/v2/{repository}/tags/list"
    assert json.loads(plain("GET", path).body) == {"name": repository, "tags": ["a", "b", "c"]}
    page = plain("GET", f"{path}?n=2")
    assert json.loads(page.body)["tags"] == ["a", "b"]
    following = page.headers["Link"].split(">")[0].lstrip("<")
    last = plain("GET", following)
    assert json.loads(last.body)["tags"] == ["c"]
    assert last.headers["Link"] is None


def test_an_index_of_two_architectures(plain: Plain, repository: str, ecr: Any) -> None:
    members = [plain.put_image(repository, tag, tag * 10)[0] for tag in ("amd64", "arm64")]
    index = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [
            {"mediaType": DOCKER_MANIFEST, "digest": digest, "size": 1} for digest in members
        ],
    }
    assert put(plain, repository, "multi", index).status == 201
    answer = plain("GET", f"/v2/{repository}/manifests/multi")
    assert answer.headers["Content-Type"] == DOCKER_LIST
    deleted = ecr.batch_delete_image(
        repositoryName=repository, imageIds=[{"imageDigest": members[0]}]
    )
    assert deleted["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
    index["manifests"] = [{"digest": digest_of(b"none")}]
    assert put(plain, repository, "bad", index).error[:2] == (404, "MANIFEST_BLOB_UNKNOWN")


def test_deleting_by_the_protocol(cloud: Cloud, plain: Plain, repository: str) -> None:
    digest, manifest = plain.put_image(repository, "one", "only here")
    plain.put_image(repository, "two", "only here")
    layer = manifest["layers"][0]["digest"]
    assert plain("DELETE", f"/v2/{repository}/manifests/one").status == 202
    assert plain("GET", f"/v2/{repository}/manifests/two").status == 200
    assert plain("DELETE", f"/v2/{repository}/manifests/{digest}").status == 202
    assert plain("GET", f"/v2/{repository}/manifests/two").status == 404
    assert plain("HEAD", f"/v2/{repository}/blobs/{layer}").status == 404
    assert cloud.registry.blobs.find(layer) is None
    assert cloud.registry.blobs.find(digest) is None


def test_an_immutable_tag(plain: Plain, repository: str, ecr: Any) -> None:
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    _, manifest = plain.put_image(repository, "v1", "first")
    assert put(plain, repository, "v1", manifest).status == 201  # the same again
    other = plain.make_manifest(repository, "second")
    status, code, message = put(plain, repository, "v1", other).error
    assert (status, code) == (400, "TAG_INVALID")
    assert "cannot be overwritten because the tag is immutable" in message


def test_referrers(plain: Plain, repository: str) -> None:
    digest, _ = plain.put_image(repository, "v1")
    signature = plain.make_manifest(repository, "signature")
    signature["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    signature["artifactType"] = "application/example"
    signature["subject"] = {"mediaType": DOCKER_MANIFEST, "digest": digest, "size": 1}
    assert put(plain, repository, "sig", signature).headers["OCI-Subject"] == digest
    found = json.loads(plain("GET", f"/v2/{repository}/referrers/{digest}").body)
    assert [entry["artifactType"] for entry in found["manifests"]] == ["application/example"]
    path = f"/v2/{repository}/referrers/{digest}?artifactType=application/other"
    assert json.loads(plain("GET", path).body)["manifests"] == []


def test_methods_that_do_not_exist(plain: Plain, repository: str) -> None:
    digest = plain.put_blob(repository, b"kept")
    answer = plain("DELETE", f"/v2/{repository}/blobs/{digest}")
    assert answer.error[:2] == (405, "UNSUPPORTED")
    assert plain("GET", f"/v2/{repository}/nonsense").status == 404
