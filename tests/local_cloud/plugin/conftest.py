"""An engine of a few lines: it speaks the provider protocol with the stand-in as Pulumi's does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local_cloud.cloud import Cloud
from local_cloud.pulumi_plugin.server import AwsStandIn
from local_cloud.pulumi_plugin.values import Props, from_struct, to_struct

BASE_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"


@dataclass
class Resource:
    """What an engine keeps of a resource."""

    urn: str
    id: str
    inputs: Props
    state: Props


@dataclass(frozen=True)
class Seen:
    """What a diff said: paths changed in place and replacing; whether the old one goes first."""

    in_place: list[str]
    replacing: list[str]
    delete_first: bool = False

    @property
    def nothing(self) -> bool:
        return not self.in_place and not self.replacing


class Engine:
    """One configured plugin, reached over gRPC."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def configure(self, **settings: Any) -> Any:
        return self.stub.Configure(provider_pb2.ConfigureRequest(args=to_struct(settings)))

    @staticmethod
    def urn(kind: str, name: str) -> str:
        return f"urn:pulumi:test::project::{kind}::{name}"

    def check(
        self, urn: str, inputs: Props, old: Props | None = None
    ) -> tuple[Props, dict[str, str]]:
        """The checked inputs, and the faults by property."""
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                urn=urn,
                news=to_struct(inputs),
                olds=to_struct(old) if old is not None else None,
                randomSeed=urn.encode() if old is None else b"",
            )
        )
        return from_struct(answer.inputs), {each.property: each.reason for each in answer.failures}

    def create(self, kind: str, name: str, inputs: Props, *, timeout: float = 600) -> Resource:
        urn = self.urn(kind, name)
        checked, faults = self.check(urn, inputs)
        assert faults == {}
        answer = self.stub.Create(
            provider_pb2.CreateRequest(urn=urn, properties=to_struct(checked), timeout=timeout)
        )
        return Resource(urn, answer.id, checked, from_struct(answer.properties))

    def preview_create(self, kind: str, name: str, inputs: Props) -> Props:
        checked, faults = self.check(self.urn(kind, name), inputs)
        assert faults == {}
        request = provider_pb2.CreateRequest(
            urn=self.urn(kind, name), properties=to_struct(checked), preview=True
        )
        return from_struct(self.stub.Create(request).properties)

    def diff(self, resource: Resource, inputs: Props) -> Seen:
        checked, faults = self.check(resource.urn, inputs, resource.inputs)
        assert faults == {}
        answer = self.stub.Diff(
            provider_pb2.DiffRequest(
                id=resource.id,
                urn=resource.urn,
                olds=to_struct(resource.state),
                old_inputs=to_struct(resource.inputs),
                news=to_struct(checked),
            )
        )
        kinds = {path: change.kind for path, change in answer.detailedDiff.items()}
        replacing = [path for path, kind in kinds.items() if kind in (1, 3, 5)]
        in_place = [path for path, kind in kinds.items() if kind in (0, 2, 4)]
        changed = answer.changes == provider_pb2.DiffResponse.DIFF_SOME
        assert changed == bool(kinds)
        assert bool(replacing) == bool(answer.replaces)
        return Seen(sorted(in_place), sorted(replacing), answer.deleteBeforeReplace)

    def update(self, resource: Resource, inputs: Props, *, preview: bool = False) -> Resource:
        checked, faults = self.check(resource.urn, inputs, resource.inputs)
        assert faults == {}
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                id=resource.id,
                urn=resource.urn,
                olds=to_struct(resource.state),
                old_inputs=to_struct(resource.inputs),
                news=to_struct(checked),
                preview=preview,
                timeout=600,
            )
        )
        return Resource(resource.urn, resource.id, checked, from_struct(answer.properties))

    def read(self, resource: Resource) -> Resource | None:
        """A refresh; None when it is gone."""
        answer = self.stub.Read(
            provider_pb2.ReadRequest(
                id=resource.id,
                urn=resource.urn,
                properties=to_struct(resource.state),
                inputs=to_struct(resource.inputs),
            )
        )
        if not answer.id:
            return None
        return Resource(
            resource.urn, answer.id, from_struct(answer.inputs), from_struct(answer.properties)
        )

    def delete(self, resource: Resource) -> None:
        self.stub.Delete(
            provider_pb2.DeleteRequest(
                id=resource.id, urn=resource.urn, properties=to_struct(resource.state), timeout=600
            )
        )

    def invoke(self, function: str, **arguments: Any) -> Props:
        answer = self.stub.Invoke(
            provider_pb2.InvokeRequest(tok=function, args=to_struct(arguments))
        )
        assert not answer.failures
        return from_struct(getattr(answer, "return"))


@pytest.fixture(scope="session")
def stub() -> Iterator[Any]:
    """A plugin served in this process; not configured, and no cloud behind it."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(AwsStandIn(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(None)


@pytest.fixture
def offline(stub: Any) -> Engine:
    """For what asks nothing of AWS: check, diff, previews."""
    engine = Engine(stub)
    engine.configure(region="ap-northeast-2")
    return engine


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(real=False, say=lambda _: None) as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", cloud.endpoint)
        yield cloud


@pytest.fixture
def engine(stub: Any, cloud: Cloud) -> Engine:
    """A plugin whose AWS is a cloud with recorded machines."""
    engine = Engine(stub)
    engine.configure(region=cloud.region)
    return engine


@pytest.fixture(scope="module")
def aws(cloud: Cloud) -> boto3.Session:
    """To look at the cloud beside the plugin."""
    return boto3.Session("local", "local", region_name=cloud.region)


@pytest.fixture(scope="module")
def base_image(aws: boto3.Session) -> str:
    """The ID of an AMI that is there."""
    answer = aws.client("ssm").get_parameter(Name=BASE_IMAGE)
    return str(answer["Parameter"]["Value"])
