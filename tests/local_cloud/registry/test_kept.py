"""What a cloud with a state folder still holds after its end, and after a kill."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.seed import BUCKET, REPOSITORY, seed

from .conftest import client

MIB = 1024 * 1024


def start(folder: Path) -> Cloud:
    return Cloud(state=folder, real=False, say=lambda text: None)


def read(s3: Any, key: str) -> bytes:
    content: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


def test_objects_and_images_outlive_the_process(tmp_path: Path) -> None:
    content = os.urandom(2 * MIB)
    with start(tmp_path) as cloud:
        seed(cloud, image_mib=1)
        s3 = client(cloud, "s3")
        s3.put_object(Bucket=BUCKET, Key="mine", Body=content, ChecksumAlgorithm="SHA256")
        before = s3.head_object(Bucket=BUCKET, Key="mine", ChecksumMode="ENABLED")
        models = [(o["Key"], o["ETag"]) for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
        images = client(cloud, "ecr").describe_images(repositoryName=REPOSITORY)["imageDetails"]
    # The state names the objects' files; it does not hold their bytes.
    assert (tmp_path / "state.pickle").stat().st_size < MIB
    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    with start(moved) as cloud:
        s3 = client(cloud, "s3")
        assert read(s3, "mine") == content
        after = s3.head_object(Bucket=BUCKET, Key="mine", ChecksumMode="ENABLED")
        for name in ("ChecksumSHA256", "ETag", "LastModified", "ContentLength"):
            assert after[name] == before[name]
        seed(cloud, image_mib=2)  # changes nothing that is there
        kept = [(o["Key"], o["ETag"]) for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
        assert kept == models
        found = client(cloud, "ecr").describe_images(repositoryName=REPOSITORY)["imageDetails"]
        assert found == images


def test_a_state_older_than_its_files(tmp_path: Path) -> None:
    """After a kill: what was deleted since the last save is gone, what was added since too."""
    with start(tmp_path) as cloud:
        seed(cloud, image_mib=1)
        s3 = client(cloud, "s3")
        for key in ("kept", "deleted"):
            s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    old = (tmp_path / "state.pickle").read_bytes()
    with start(tmp_path) as cloud:
        s3 = client(cloud, "s3")
        s3.delete_object(Bucket=BUCKET, Key="deleted")
        s3.put_object(Bucket=BUCKET, Key="added", Body=b"added")
    (tmp_path / "state.pickle").write_bytes(old)
    arriving = tmp_path / "s3" / "arriving" / "half"
    arriving.write_bytes(b"half")
    with start(tmp_path) as cloud:
        s3 = client(cloud, "s3")
        assert read(s3, "kept") == b"kept"
        for key in ("deleted", "added"):
            with pytest.raises(ClientError) as caught:
                read(s3, key)
            assert caught.value.response["Error"]["Code"] == "NoSuchKey"
        listed = {o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
        assert {"deleted", "added"}.isdisjoint(listed)
        assert not arriving.exists()
        assert len(list((tmp_path / "s3" / "objects").iterdir())) == len(listed)
