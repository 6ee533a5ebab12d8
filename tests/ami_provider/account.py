"""An AWS account in this process (moto) that holds what the sample inputs name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ami_provider.aws import Aws
from tests.ami_provider.samples import REGION, inputs

BASE = "/bases/gpu"


@dataclass
class Account:
    """Its clients are `aws`; `inputs` are good ones for what is in it."""

    aws: Aws
    subnets: list[str]
    group: str
    bases: list[str]

    def inputs(self) -> dict[str, Any]:
        given = inputs()
        given["recipe"]["base"] = BASE
        given["site"] |= {
            "subnet_ids": self.subnets[:1],
            "security_group_ids": [self.group],
            "instance_types": ["g4dn.xlarge"],
        }
        return given

    def push(
        self, tag: str, *, name: str = "batch-processor", layers: tuple[int, ...] = (9,)
    ) -> str:
        """Push an image of these compressed layer sizes under the tag; its digest."""
        return self.put(name, tag, image_manifest(tag, layers))

    def put(self, name: str, tag: str | None, manifest: dict[str, Any]) -> str:
        body: dict[str, Any] = {"repositoryName": name, "imageManifest": json.dumps(manifest)}
        if tag:
            body["imageTag"] = tag
        made = self.aws.ecr.put_image(**body, imageManifestMediaType=manifest["mediaType"])
        return str(made["image"]["imageId"]["imageDigest"])

    def publish_base(self, index: int) -> str:
        """Let the parameter name this base AMI; its ID."""
        self.aws.ssm.put_parameter(
            Name=BASE, Value=self.bases[index], Type="String", Overwrite=True
        )
        return self.bases[index]


def image_manifest(salt: str, layers: tuple[int, ...] = (9,)) -> dict[str, Any]:
    kind = "application/vnd.oci.image"

    def blob(text: str, size: int, media: str) -> dict[str, Any]:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": size}

    return {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": blob(f"config {salt}", 2, f"{kind}.config.v1+json"),
        "layers": [
            blob(f"layer {salt} {i}", size, f"{kind}.layer.v1.tar+gzip")
            for i, size in enumerate(layers)
        ],
    }


@contextmanager
def open_account(patch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    }.items():
        patch.setenv(name, value)
    with mock_aws():
        yield _furnish(Aws(REGION))


def _furnish(aws: Aws) -> Account:
    ec2, iam = aws.ec2, aws.iam
    subnets = sorted(
        ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"]
    )
    groups = ec2.describe_security_groups()["SecurityGroups"]
    bases = [_register(aws, f"al2023-ami-ecs-gpu-hvm-2023.0.{i}-x86_64-ebs") for i in range(2)]
    iam.create_role(RoleName="builder", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="builder")
    iam.add_role_to_instance_profile(InstanceProfileName="builder", RoleName="builder")
    aws.ecr.create_repository(repositoryName="batch-processor")
    aws.s3.create_bucket(
        Bucket="local-ml-models", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    aws.s3.put_object(
        Bucket="local-ml-models",
        Key="models/yolo.pt",
        Body=b"yolo",
        ChecksumAlgorithm="SHA256",
    )
    account = Account(aws, [s["SubnetId"] for s in subnets], groups[0]["GroupId"], bases)
    account.push("latest")
    account.publish_base(0)
    return account


def _register(aws: Aws, name: str) -> str:
    ec2 = aws.ec2
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=30)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    return ec2.register_image(
        Name=name,
        Architecture="x86_64",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 30}}
        ],
    )["ImageId"]


class Refusing:
    """Clients that pass everything on, but for actions that fail with a code of AWS's."""

    def __init__(self, aws: Aws, **codes: str) -> None:
        self._aws, self._codes = aws, codes
        self.region = aws.region
        self.asked: list[str] = []
        self._when: dict[str, tuple[str, Any]] = {}

    def only(self, action: str, *, when: str, having: Any) -> None:
        """Let the action fail only where this parameter has this value."""
        self._when[action] = (when, having)

    def at(self, region: str) -> Any:
        there = Refusing(self._aws.at(region), **self._codes)
        there.asked, there._when = self.asked, self._when
        return there

    def client(self, service: str, region: str | None = None) -> Any:
        found = self._aws.client(service, region)
        return _RefusingClient(found, self._codes, self.asked, self._when)

    def __getattr__(self, service: str) -> Any:
        return self.client(service)


class _RefusingClient:
    def __init__(
        self,
        client: Any,
        codes: dict[str, str],
        asked: list[str],
        when: dict[str, tuple[str, Any]],
    ) -> None:
        self._client, self._codes, self._asked, self._when = client, codes, asked, when

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "get_paginator":
            return lambda action: _Pages(self, found(action), action)
        return lambda **given: self.call(name, found, given)

    def call(self, name: str, act: Any, given: dict[str, Any]) -> Any:
        self._asked.append(name)
        parameter, value = self._when.get(name, ("", None))
        if (code := self._codes.get(name)) and (not parameter or given.get(parameter) == value):
            message = f"said {code}"
            raise ClientError({"Error": {"Code": code, "Message": message}}, name)
        return act(**given)


class _Pages:
    def __init__(self, client: _RefusingClient, pages: Any, action: str) -> None:
        self._client, self._pages, self._action = client, pages, action

    def paginate(self, **given: Any) -> Any:
        yield from self._client.call(self._action, self._pages.paginate, given)
