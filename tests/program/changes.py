"""What other people do to the inputs of a stack between two of its updates."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def push_another_image(ecr: Any, repository: str, tag: str) -> str:
    """Push an image with the same layers and one more label under the tag; its new digest."""
    (found,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])[
        "images"
    ]
    manifest = json.loads(found["imageManifest"])
    config = _read_blob(ecr, repository, manifest["config"]["digest"])
    labels = config.setdefault("config", {}).setdefault("Labels", {}) or {}
    labels["build"] = str(int(labels.get("build", "0")) + 1)
    config["config"]["Labels"] = labels
    body = json.dumps(config, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    _push_blob(ecr, repository, body, digest)
    manifest["config"] |= {"digest": digest, "size": len(body)}
    pushed = ecr.put_image(
        repositoryName=repository,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=manifest["mediaType"],
        imageTag=tag,
    )
    return str(pushed["image"]["imageId"]["imageDigest"])


def copy_image(ecr: Any, repository: str, tag: str, target: str) -> None:
    """Push what the tag names to another repository, under the same tag."""
    (found,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])[
        "images"
    ]
    manifest = json.loads(found["imageManifest"])
    for blob in (manifest["config"], *manifest["layers"]):
        body = _read_bytes(ecr, repository, blob["digest"])
        _push_blob(ecr, target, body, blob["digest"])
    ecr.put_image(
        repositoryName=target,
        imageManifest=found["imageManifest"],
        imageManifestMediaType=manifest["mediaType"],
        imageTag=tag,
    )


def change_a_model(s3: Any, bucket: str, prefix: str) -> str:
    """Change one byte of the first model below the prefix; its key."""
    key = str(s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]["Key"])
    body = bytearray(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    body[0] ^= 1
    s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), ChecksumAlgorithm="SHA256")
    return key


def _read_blob(ecr: Any, repository: str, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_read_bytes(ecr, repository, digest))
    return found


def _read_bytes(ecr: Any, repository: str, digest: str) -> bytes:
    import urllib.request

    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)
    with urllib.request.urlopen(url["downloadUrl"]) as answer:
        return bytes(answer.read())


def _push_blob(ecr: Any, repository: str, body: bytes, digest: str) -> None:
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    ecr.upload_layer_part(
        repositoryName=repository,
        uploadId=upload,
        partFirstByte=0,
        partLastByte=len(body) - 1,
        layerPartBlob=body,
    )
    ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
