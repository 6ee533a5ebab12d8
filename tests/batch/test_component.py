"""`GpuBatch` against Pulumi's mocks: which resources it makes and how they hang together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pulumi.runtime
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from batch import GpuBatch, GpuBatchArgs

AMI = "ami-0123456789abcdef0"
IMAGE = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor@sha256:{'a' * 64}"
TAGS = {"team": "vision"}


class Cloud(Mocks):
    """Remembers every resource, and answers with an ID, an ARN and a version."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        self.made[kind] = dict(args.inputs)
        arn = f"arn:aws:{kind.lower()}:ap-northeast-2:123456789012:{kind}/{args.name}"
        return f"{args.name}-id", {
            "name": args.name,
            **args.inputs,
            "arn": arn,
            "latestVersion": 3,
        }

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the component looks nothing up, but called {args.token}")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    mocks = Cloud()
    pulumi.runtime.set_mocks(mocks, project="baked-ami", stack="test", preview=False)
    yield mocks
    pulumi.runtime.set_mocks(Cloud(), preview=False)


def make(**given: Any) -> dict[str, Any]:
    """The component's own outputs, after everything below it has been registered."""
    found: dict[str, Any] = {}

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def build() -> pulumi.Output[None]:
        args: dict[str, Any] = {
            "ami_id": AMI,
            "image_uri": IMAGE,
            "region": "ap-northeast-2",
            "subnet_ids": ["subnet-1", "subnet-2"],
            "security_group_ids": ["sg-1"],
            "tags": TAGS,
        }
        gpu = GpuBatch("gpu", GpuBatchArgs(**(args | given)))
        outputs = pulumi.Output.all(
            environment=gpu.compute_environment_arn,
            template=gpu.launch_template_id,
            version=gpu.launch_template_version,
            queue=gpu.job_queue_arn,
            job=gpu.job_definition_arn,
            urn=gpu.urn,
        )
        return outputs.apply(found.update)

    build()
    return found


def test_the_ami_reaches_batch_twice_with_an_explicit_version(cloud: Cloud) -> None:
    make()
    resources = cloud.made["ComputeEnvironment"]["computeResources"]
    assert cloud.made["LaunchTemplate"]["imageId"] == AMI
    assert resources["ec2Configurations"] == [
        {"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": AMI}
    ]
    assert resources["launchTemplate"] == {"launchTemplateId": "gpu-id", "version": "3"}


def test_an_al2_ami_is_announced_as_one(cloud: Cloud) -> None:
    make(ami_family="al2")
    (configuration,) = cloud.made["ComputeEnvironment"]["computeResources"]["ec2Configurations"]
    assert configuration["imageType"] == "ECS_AL2_NVIDIA"


@pytest.mark.parametrize(
    ("spot", "kind", "strategy"),
    [(True, "SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"), (False, "EC2", "BEST_FIT_PROGRESSIVE")],
)
def test_the_environment_can_be_updated_in_place(
    cloud: Cloud, spot: bool, kind: str, strategy: str
) -> None:
    """AWS updates it in place only with its service-linked role and one of these strategies."""
    make(spot=spot)
    environment = cloud.made["ComputeEnvironment"]
    assert "serviceRole" not in environment
    assert environment["computeResources"]["type"] == kind
    assert environment["computeResources"]["allocationStrategy"] == strategy
    assert environment["updatePolicy"] == {
        "jobExecutionTimeoutMinutes": 30,
        "terminateJobsOnUpdate": False,
    }


def test_machines_take_imdsv2_only_and_a_gp3_root_volume(cloud: Cloud) -> None:
    make(root_volume_gib=45, max_vcpus=16)
    template = cloud.made["LaunchTemplate"]
    assert template["metadataOptions"]["httpTokens"] == "required"
    (mapping,) = template["blockDeviceMappings"]
    assert mapping["deviceName"] == "/dev/xvda"
    assert mapping["ebs"] == {
        "volumeType": "gp3",
        "volumeSize": 45,
        "iops": 3000,
        "throughput": 250,
        "deleteOnTermination": "true",
        "volumeInitializationRate": 300,
    }


def test_a_rate_that_is_off_is_not_in_the_template(cloud: Cloud) -> None:
    make(volume_initialization_rate="off")
    (mapping,) = cloud.made["LaunchTemplate"]["blockDeviceMappings"]
    assert "volumeInitializationRate" not in mapping["ebs"]


def test_the_job_is_pinned_to_the_baked_digest(cloud: Cloud) -> None:
    make()
    properties = json.loads(cloud.made["JobDefinition"]["containerProperties"])
    assert properties["image"] == IMAGE
    assert properties["logConfiguration"]["options"]["awslogs-group"] == "gpu-jobs"


def test_only_a_lost_host_is_tried_again(cloud: Cloud) -> None:
    make()
    strategy = cloud.made["JobDefinition"]["retryStrategy"]
    assert strategy["attempts"] == 3
    assert strategy["evaluateOnExits"] == [
        {"action": "retry", "onStatusReason": "Host EC2*"},
        {"action": "exit", "onReason": "*"},
    ]


def test_everything_that_can_be_tagged_is(cloud: Cloud) -> None:
    make()
    untagged = [kind for kind, inputs in cloud.made.items() if inputs.get("tags") != TAGS]
    assert sorted(untagged) == ["GpuBatch", "RolePolicy"]  # neither has tags in AWS
    for specification in cloud.made["LaunchTemplate"]["tagSpecifications"]:
        assert specification["tags"] == {"Name": "gpu", **TAGS}


def test_outputs_are_those_of_what_it_made(cloud: Cloud) -> None:
    outputs = make()
    assert outputs["template"] == "gpu-id"
    assert outputs["version"] == 3
    for key, kind in (
        ("environment", "ComputeEnvironment"),
        ("queue", "JobQueue"),
        ("job", "JobDefinition"),
    ):
        assert outputs[key].endswith(f"{kind}/gpu")
    (order,) = cloud.made["JobQueue"]["computeEnvironmentOrders"]
    assert order == {"order": 1, "computeEnvironment": outputs["environment"]}
