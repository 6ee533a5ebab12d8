"""One cloud a module, whose machines are recorded, and ways into its registry."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from local_cloud.cloud import Cloud
from local_cloud.registry import Scope
from local_cloud.registry.blobs import digest_of
from local_cloud.registry.records import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST

REGION = "ap-northeast-2"
ACCOUNT = "123456789012"
SCOPE = Scope(account=ACCOUNT, region=REGION)
_names = itertools.count(1)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(real=False, say=lambda text: None) as one:
        yield one


def client(cloud: Cloud, service: str, **config: Any) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=cloud.endpoint,
        region_name=config.pop("region", REGION),
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(**({"retries": {"total_max_attempts": 1}} | config)),
    )


@pytest.fixture(scope="module")
def ecr(cloud: Cloud) -> Any:
    return client(cloud, "ecr")


@pytest.fixture(scope="module")
def s3(cloud: Cloud) -> Any:
    return client(cloud, "s3")


@pytest.fixture
def repository(ecr: Any) -> str:
    """The name of a new, empty repository."""
    name = f"team/app-{next(_names)}"
    ecr.create_repository(repositoryName=name)
    return name


@pytest.fixture
def bucket(s3: Any) -> str:
    """The name of a new, empty bucket."""
    name = f"bucket-{next(_names)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message of the first error of the distribution protocol."""
        first = json.loads(self.body)["errors"][0]
        return self.status, first["code"], first["message"]


class Plain:
    """HTTP without a library's help, so that a test sees what is on the wire."""

    def __init__(self, endpoint: str, authorization_token: str | None) -> None:
        self.netloc = urlsplit(endpoint).netloc
        self.login = (
            {"Authorization": f"Basic {authorization_token}"} if authorization_token else {}
        )

    def __call__(self, method: str, path: str, *, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(
                method, path, body=body, headers=self.login | named,
                encode_chunked=body is not None and not isinstance(body, bytes),
            )  # fmt: skip
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def put_blob(self, name: str, content: bytes) -> str:
        """A blob in one piece; gives its digest."""
        digest = digest_of(content)
        answer = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body=content)
        assert answer.status == 201, answer
        return digest

    def put_image(self, name: str, tag: str, text: str = "layer") -> tuple[str, dict[str, Any]]:
        """A small image; gives its digest and manifest."""
        manifest = self.make_manifest(name, text)
        content = json.dumps(manifest).encode()
        answer = self(
            "PUT", f"/v2/{name}/manifests/{tag}", body=content, Content_Type=DOCKER_MANIFEST
        )
        assert answer.status == 201, answer
        return digest_of(content), manifest

    def make_manifest(self, name: str, text: str) -> dict[str, Any]:
        """A manifest whose config and layer are in the repository."""
        config, layer = json.dumps({"text": text}).encode(), text.encode() * 100
        return {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG,
                "size": len(config),
                "digest": self.put_blob(name, config),
            },
            "layers": [
                {
                    "mediaType": DOCKER_LAYER,
                    "size": len(layer),
                    "digest": self.put_blob(name, layer),
                }
            ],
        }


def token(ecr: Any) -> str:
    return str(ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"])


@pytest.fixture
def plain(cloud: Cloud, ecr: Any) -> Plain:
    """HTTP to the registry, logged in."""
    return Plain(cloud.endpoint, token(ecr))


@pytest.fixture
def stranger(cloud: Cloud) -> Plain:
    """HTTP to the registry, not logged in."""
    return Plain(cloud.endpoint, None)
