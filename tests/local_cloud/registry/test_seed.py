"""The seed: the same bytes every time, real layers, checksums of each kind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.registry.layers import MADE_AT, MIB, Bulk, File, Folder, Layer, Link
from local_cloud.sample_image import NO_BUSYBOX, Blob, find_busybox, make_image
from local_cloud.seed import BUCKET, REPOSITORY, seed

from .conftest import Plain

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def seeded(cloud: Cloud) -> Cloud:
    seed(cloud, image_mib=3, models_mib=12)
    return cloud


def opened(layer: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer)))


def test_a_layer_is_a_proper_archive() -> None:
    layer = Layer(
        (
            Folder(path="tmp", mode=0o1777),
            File(path="/bin/tool", content=b"#!/bin/sh\n", mode=0o755),
            Link(path="bin/sh", target="tool"),
            Bulk(path="opt/bulk", mib=3, seed=7),
            File(path="empty", content=b""),
        )
    )
    packed = b"".join(layer.pieces())
    assert layer.diff_id == "sha256:" + hashlib.sha256(gzip.decompress(packed)).hexdigest()
    assert b"".join(layer.pieces()) == packed
    archive = opened(packed)
    assert archive.getnames() == ["tmp", "bin/tool", "bin/sh", "opt/bulk", "empty"]
    assert {member.mtime for member in archive} == {MADE_AT}
    assert archive.getmember("bin/tool").mode == 0o755
    assert archive.getmember("bin/sh").linkname == "tool"
    bulk = archive.extractfile("opt/bulk")
    assert bulk is not None
    content = bulk.read()
    assert len(content) == 3 * MIB
    assert 0.4 < len(gzip.compress(content)) / len(content) < 0.7


def test_the_image_depends_on_its_note_and_size_alone() -> None:
    def store(pieces: Iterator[bytes]) -> Blob:
        content = b"".join(pieces)
        return Blob(digest="sha256:" + hashlib.sha256(content).hexdigest(), size=len(content))

    first, again = (make_image(store, bulk_mib=2, note="a") for _ in range(2))
    assert first == again
    other = make_image(store, bulk_mib=2, note="b")
    assert [a == b for a, b in zip(first["layers"], other["layers"], strict=True)] == [
        True, True, False,
    ]  # fmt: skip
    assert len(make_image(store, bulk_mib=0)["layers"]) == 2
    assert "oci" in make_image(store, bulk_mib=0, oci=True)["mediaType"]


def test_the_image_can_be_pulled_whole(seeded: Cloud, plain: Plain, ecr: Any) -> None:
    [detail] = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert detail["imageTags"] == ["latest"]
    manifest = json.loads(plain("GET", f"/v2/{REPOSITORY}/manifests/latest").body)
    blobs = f"/v2/{REPOSITORY}/blobs/"
    config = json.loads(plain("GET", blobs + manifest["config"]["digest"]).body)
    layers = [plain("GET", blobs + layer["digest"]).body for layer in manifest["layers"]]
    assert [len(layer) for layer in layers] == [layer["size"] for layer in manifest["layers"]]
    assert sum(len(layer) for layer in layers) == detail["imageSizeInBytes"]
    assert config["rootfs"]["diff_ids"] == [
        "sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest() for layer in layers
    ]
    names = [name for layer in layers for name in opened(layer).getnames()]
    assert len(names) == len(set(names))
    assert "app/batch-processor" in names
    assert any(name.startswith("opt/framework/") for name in names)


def test_the_image_s_app_runs(seeded: Cloud, plain: Plain, tmp_path: Path) -> None:
    """As root, in a chroot; otherwise its shell reads it. Without busybox, the image says so."""
    manifest = json.loads(plain("GET", f"/v2/{REPOSITORY}/manifests/latest").body)
    for layer in manifest["layers"]:
        content = plain("GET", f"/v2/{REPOSITORY}/blobs/{layer['digest']}").body
        opened(content).extractall(tmp_path, filter="tar")
    if find_busybox() is None:
        assert NO_BUSYBOX in (tmp_path / "etc/motd").read_text()
        return
    models = tmp_path / "opt/ml/models"
    models.mkdir(parents=True)
    (models / "a.pt").write_bytes(b"weights")
    if os.geteuid() == 0:
        command = ["chroot", str(tmp_path), "/app/batch-processor"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        digest = hashlib.sha256(b"weights").hexdigest()
        assert f"model a.pt 7 bytes sha256:{digest}" in ran.stdout, ran.stderr
        assert ran.returncode == 0
    else:
        busybox = tmp_path / "bin/busybox"
        script = [str(busybox), "sh", "-n", str(tmp_path / "app/batch-processor")]
        assert subprocess.run(script, check=False).returncode == 0


def test_models_have_each_kind_of_checksum(seeded: Cloud, s3: Any) -> None:
    heads = {
        item["Key"]: s3.head_object(Bucket=BUCKET, Key=item["Key"], ChecksumMode="ENABLED")
        for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="models/")["Contents"]
    }
    assert sum(head["ContentLength"] for head in heads.values()) == 12 * MIB
    kinds = {key: head.get("ChecksumType") for key, head in heads.items()}
    assert kinds == {
        "models/detector.pt": "FULL_OBJECT",
        "models/classifier.onnx": None,
        "models/embedder.safetensors": "COMPOSITE",
    }
    # The seed must be the same on every machine: these bytes depend on nothing but this code.
    assert heads["models/detector.pt"]["ChecksumSHA256"] == (
        "zpSjKtS7NnLlTgZ2SuNZ5spsPC/5D0Sxsj4my51OIcU="
    )


def test_a_seed_leaves_what_is_there(seeded: Cloud, s3: Any, ecr: Any) -> None:
    before = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    s3.put_object(Bucket=BUCKET, Key="models/detector.pt", Body=b"changed by a user")
    calls = len(seeded.calls.read())
    seed(seeded, image_mib=5, models_mib=40)
    assert len(seeded.calls.read()) == calls  # seeding is not the user's doing
    assert ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"] == before
    body = s3.get_object(Bucket=BUCKET, Key="models/detector.pt")["Body"].read()
    assert body == b"changed by a user"


def test_sizes_from_the_environment(
    seeded: Cloud, ecr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecr.delete_repository(repositoryName=REPOSITORY, force=True)
    monkeypatch.setenv("LOCAL_CLOUD_IMAGE_MB", "20")
    seed(seeded)
    [detail] = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert 9 * MIB < detail["imageSizeInBytes"] < 14 * MIB
    monkeypatch.setenv("LOCAL_CLOUD_IMAGE_MB", "many")
    with pytest.raises(ValueError, match="LOCAL_CLOUD_IMAGE_MB='many' is not a whole number"):
        seed(seeded)


def run(cloud: Cloud, *arguments: str) -> str:
    environment = os.environ | {"AWS_ENDPOINT_URL": cloud.endpoint}
    command = [sys.executable, "-m", "local_cloud.seed", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_image_under_the_same_tag(seeded: Cloud, ecr: Any) -> None:
    same: dict[str, Any] = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": "latest"}]}
    [old] = ecr.describe_images(**same)["imageDetails"]
    digest = run(seeded, "push-image", "--note", "second", "--mib", "1")
    [new] = ecr.describe_images(**same)["imageDetails"]
    assert new["imageDigest"] == digest != old["imageDigest"]
    assert run(seeded, "push-image", "--note", "second", "--mib", "1") == digest


def test_another_model_under_the_same_key(seeded: Cloud, s3: Any) -> None:
    digest = run(seeded, "put-model", "--note", "second", "--mib", "1")
    body = s3.get_object(Bucket=BUCKET, Key="models/detector.pt")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == digest
    assert body.startswith(b"second\n")


def test_the_command_without_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "AWS_ENDPOINT_URL"}
    command = [sys.executable, "-m", "local_cloud.seed", "push-image", "--note", "x"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "AWS_ENDPOINT_URL is not set" in done.stderr
