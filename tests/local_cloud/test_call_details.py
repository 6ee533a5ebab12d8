"""What a call asked for, of whose things, and who asked: kept where it is asked for."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.seed import seed_image
from tests.local_cloud.conftest import client_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "details.jsonl"


@pytest.fixture
def cloud(file: Path) -> Iterator[Cloud]:
    with Cloud(real=False, say=lambda text: None, details=file) as one:
        yield one


def lines(file: Path, action: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in every if line["action"] == action]


def test_parameters_and_the_tags_of_what_they_name(cloud: Cloud, file: Path) -> None:
    ec2 = client_of(cloud.endpoint, "ec2")
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "stack", "Value": "dev"}]}]
    volume = ec2.create_volume(AvailabilityZone="ap-northeast-2a", Size=1, TagSpecifications=tags)
    ec2.delete_volume(VolumeId=volume["VolumeId"])
    (line,) = lines(file, "DeleteVolume")
    assert line["params"] == {"VolumeId": volume["VolumeId"]}
    assert line["tags"] == {volume["VolumeId"]: {"stack": "dev"}}, "as they were before it went"
    assert line["principal"] == "arn:aws:iam::123456789012:user/local"
    assert (line["service"], line["region"]) == ("ec2", "ap-northeast-2")


def test_a_role_is_told_by_its_session(cloud: Cloud, file: Path) -> None:
    iam, sts = client_of(cloud.endpoint, "iam"), client_of(cloud.endpoint, "sts")
    role = iam.create_role(RoleName="builder", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    keys = sts.assume_role(RoleArn=role, RoleSessionName="i-1")["Credentials"]
    import boto3

    boto3.client(
        "sts",
        endpoint_url=cloud.endpoint,
        region_name=cloud.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    ).get_caller_identity()
    (line,) = lines(file, "GetCallerIdentity")
    assert line["principal"] == "arn:aws:sts::123456789012:assumed-role/builder/i-1"


def test_a_pull_is_told_as_what_ecr_asks_of_the_one_who_logged_in(cloud: Cloud, file: Path) -> None:
    seed_image(cloud, mib=1)
    login = client_of(cloud.endpoint, "ecr").get_authorization_token()["authorizationData"][0]
    request = urllib.request.Request(f"{cloud.endpoint}/v2/batch-processor/manifests/latest")
    request.add_header("Authorization", f"Basic {login['authorizationToken']}")
    with urllib.request.urlopen(request) as answer:
        layer = json.load(answer)["layers"][0]["digest"]
    request.full_url = f"{cloud.endpoint}/v2/batch-processor/blobs/{layer}"
    with urllib.request.urlopen(request) as answer:
        answer.read()
    assert base64.b64decode(login["authorizationToken"]).startswith(b"AWS:")
    for action in ("BatchGetImage", "GetDownloadUrlForLayer"):
        (line,) = lines(file, action)
        assert line["params"] == {"repositoryName": "batch-processor"}
        assert line["principal"].endswith(":user/local")


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    with Cloud(real=False, say=lambda text: None) as cloud:
        assert cloud.details is None
