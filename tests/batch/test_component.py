"""`GpuBatch` against Pulumi's mocks: which resources it makes and how they hang together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pulumi
import pulumi.runtime
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from batch import AmiContent, GpuBatch, GpuBatchArgs, JobArgs
from batch.environments import find_warning
from tests.batch.machine_types import answer

AMI = "ami-0123456789abcdef0"
IMAGE = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor@sha256:{'a' * 64}"
TAGS = {"team": "vision"}


class Cloud(Mocks):
    """Remembers every resource, and answers with an ID, an ARN and a version."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.all: dict[tuple[str, str], dict[str, Any]] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        self.made.setdefault(kind, dict(args.inputs))
        self.all[kind, args.name] = dict(args.inputs)
        service = "iam" if kind in ("Role", "InstanceProfile") else kind.lower()
        arn = f"arn:aws:{service}:ap-northeast-2:123456789012:{kind}/{args.name}"
        return f"{args.name}-id", {
            "name": args.name,
            **args.inputs,
            "arn": arn,
            "latestVersion": 3,
        }

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return answer(args), []


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
            groups=gpu.security_group_ids,
            environments=gpu.compute_environment_arns,
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
    # The first is nothing in AWS, nor is the roll-out; the others have no tags there.
    assert sorted(untagged) == ["GpuBatch", "RolePolicy", "RollOut", "ServiceRoles"]
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


def test_without_groups_one_with_https_out_and_nothing_in_is_made(cloud: Cloud) -> None:
    outputs = make(security_group_ids=[], vpc_id="vpc-1")
    group = cloud.made["SecurityGroup"]
    assert group["vpcId"] == "vpc-1"
    assert "ingress" not in group
    assert [(rule["fromPort"], rule["toPort"]) for rule in group["egress"]] == [(443, 443)]
    assert outputs["groups"] == ["gpu-out-id"]
    assert cloud.made["ComputeEnvironment"]["computeResources"]["securityGroupIds"] == [
        "gpu-out-id"
    ]


def test_an_on_demand_environment_stands_behind_the_spot_one(cloud: Cloud) -> None:
    outputs = make(max_vcpus=64, on_demand_max_vcpus=32, min_vcpus=4)
    spot, on_demand = (
        cloud.all["ComputeEnvironment", name]["computeResources"]
        for name in ("gpu", "gpu-on-demand")
    )
    assert (spot["type"], on_demand["type"]) == ("SPOT", "EC2")
    assert (spot["maxVcpus"], on_demand["maxVcpus"]) == (64, 32)
    assert (spot["minVcpus"], on_demand["minVcpus"]) == (4, 0)
    for own in ("ec2Configurations", "launchTemplate", "instanceRole"):
        assert spot[own] == on_demand[own]
    orders = cloud.made["JobQueue"]["computeEnvironmentOrders"]
    assert [order["order"] for order in orders] == [1, 2]
    assert [order["computeEnvironment"] for order in orders] == outputs["environments"]
    (mapping,) = cloud.made["LaunchTemplate"]["blockDeviceMappings"]
    assert mapping["ebs"]["volumeInitializationRate"] == 208, "5,000 among 24 machines of both"


def test_the_roll_out_waits_longer_than_jobs_get(cloud: Cloud) -> None:
    outputs = make(job_minutes_on_update=120)
    roll_out = cloud.made["RollOut"]
    assert roll_out["minutes"] > 120
    assert roll_out["environments"] == [outputs["environment"]]
    assert roll_out["ami_id"] == AMI


@pytest.mark.parametrize(
    ("given", "services"),
    [
        ({}, ["batch", "spot"]),
        ({"spot": False}, ["batch"]),
        ({"spot": False, "encryption_key": "arn:aws:kms:r:1:key/k"}, ["autoscaling", "batch"]),
    ],
)
def test_the_accounts_service_roles_are_seen_to(
    cloud: Cloud, given: dict[str, Any], services: list[str]
) -> None:
    make(**given)
    assert cloud.made["ServiceRoles"]["services"] == [f"{one}.amazonaws.com" for one in services]


def test_a_customer_key_is_granted_to_those_who_start_machines(cloud: Cloud) -> None:
    key = "arn:aws:kms:ap-northeast-2:123456789012:key/k"
    make(encryption_key=key, on_demand_max_vcpus=8)
    grants = {name: inputs for (kind, name), inputs in cloud.all.items() if kind == "Grant"}
    assert {inputs["keyId"] for inputs in grants.values()} == {key}
    assert {name: inputs["granteePrincipal"] for name, inputs in grants.items()} == {
        f"gpu-{market}": f"arn:aws:iam::123456789012:role/aws-service-role/{role}"
        for market, role in (
            ("batch", "batch.amazonaws.com/AWSServiceRoleForBatch"),
            ("spot", "spot.amazonaws.com/AWSServiceRoleForEC2Spot"),
            ("on-demand", "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"),
        )
    }
    assert "CreateGrant" in grants["gpu-spot"]["operations"]


def test_snapshots_are_kept_ready_in_each_zone_asked_for(cloud: Cloud) -> None:
    make(
        fast_snapshot_restore_zones=["ap-northeast-2a", "ap-northeast-2c"],
        volume_initialization_rate="off",
        snapshot_id="snap-1",
    )
    kept = [inputs for (kind, _), inputs in cloud.all.items() if kind == "FastSnapshotRestore"]
    assert kept == [
        {"availabilityZone": zone, "snapshotId": "snap-1"}
        for zone in ("ap-northeast-2a", "ap-northeast-2c")
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fast_snapshot_restore_zones": ["a"], "snapshot_id": "s"}, "exclude each other"),
        (
            {"fast_snapshot_restore_zones": ["a"], "volume_initialization_rate": "off"},
            "needs snapshot_id",
        ),
        ({"spot": False, "on_demand_max_vcpus": 4}, "raise max_vcpus instead"),
        ({"allocation_strategy": "BEST_FIT"}, "set spot=False, or leave"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GpuBatchArgs(ami_id=AMI, image_uri=IMAGE, region="r", subnet_ids=["s"], **given)


def test_an_environment_that_cannot_change_in_place_is_warned_of(cloud: Cloud) -> None:
    args: dict[str, Any] = {"ami_id": AMI, "image_uri": IMAGE, "region": "r", "subnet_ids": ["s"]}
    assert find_warning(GpuBatchArgs(**args)) is None
    others: list[dict[str, Any]] = [
        {"allocation_strategy": "BEST_FIT", "spot": False},
        {"service_role": "arn:aws:iam::1:role/r"},
    ]
    for given in others:
        told = find_warning(GpuBatchArgs(**args, **given))
        assert told is not None
        assert "every new AMI makes another environment" in told
    make(allocation_strategy="BEST_FIT", spot=False)
    environment = cloud.made["ComputeEnvironment"]
    assert environment["computeResources"]["allocationStrategy"] == "BEST_FIT"
    assert "updatePolicy" not in environment


CONTENT = AmiContent(image_bytes=17e9, model_bytes=1.85e9, snapshot_bytes=25 * 1024**3)
LESS = AmiContent(image_bytes=17e9, model_bytes=0, snapshot_bytes=24e9, is_whole=False)
SLOW: dict[str, Any] = {"volume_initialization_rate": "off"}
READY = {"fast_snapshot_restore_zones": ["ap-northeast-2a"], "snapshot_id": "snap-1"}


@pytest.mark.parametrize(
    ("content", "given", "told"),
    [
        (CONTENT, {}, "about 100-130 s from this AMI, 6-9 min on the plain base AMI"),
        (CONTENT, SLOW, "about 2-7 min from this AMI, 6-9 min on the plain base AMI"),
        (CONTENT, SLOW | READY, "about 90-130 s from this AMI, 6-9 min on the plain base AMI"),
        (CONTENT, {"max_vcpus": 400}, "about 2-7 min from this AMI, 6-9 min"),  # no rate left
        (LESS, {}, "at least 80-120 s from this AMI, 5-8 min on the plain base AMI"),
        (None, {}, None),
    ],
)
def test_it_says_how_long_a_job_takes_to_start(
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
    content: AmiContent | None,
    given: dict[str, Any],
    told: str | None,
) -> None:
    caplog.set_level("INFO")

    make(ami_content=pulumi.Output.from_input(content), **given)

    said = [line for line in caplog.messages if "a job on a new machine starts in" in line]
    assert len(said) == (1 if told else 0)
    assert not told or f"starts in {told}" in said[0]


@pytest.mark.parametrize(
    ("types", "job"),
    [
        (["m5.large", "g5.xlarge"], JobArgs()),
        (["g5.xlarge"], JobArgs(memory_mib=16_383)),
        (["p4d.24xlarge"], JobArgs(gpus=8, vcpus=16, memory_mib=900_000)),
        (["m5.large"], JobArgs(gpus=0, vcpus=2, memory_mib=4_096)),
        (["g5"], JobArgs(gpus=4)),  # a family: Batch chooses
    ],
)
def test_a_job_that_fits_on_one_of_the_types_is_taken(
    cloud: Cloud, types: list[str], job: JobArgs
) -> None:
    make(instance_types=types, job=job)
    assert "JobDefinition" in cloud.made


@pytest.mark.parametrize(
    ("types", "job", "told"),
    [
        (["g5.xlarge", "g5.xlarg"], JobArgs(), "there is no g5.xlarg in this region"),
        (["m5.large"], JobArgs(vcpus=2, memory_mib=512), "m5.large: 2 vCPUs, 8192 MiB, 0 GPUs"),
        (["g5.xlarge"], JobArgs(memory_mib=16_384), "g5.xlarge: 4 vCPUs, 16384 MiB, 1 GPUs"),
        (["g5.xlarge"], JobArgs(vcpus=8), "8 vCPUs, 12288 MiB and 1 GPUs fit on no machine"),
        (["g5.xlarge", "g5.2xlarge"], JobArgs(gpus=4), "so it would wait for ever"),
    ],
)
def test_a_job_that_would_wait_for_ever_is_refused(
    cloud: Cloud, types: list[str], job: JobArgs, told: str
) -> None:
    with pytest.raises(pulumi.RunError, match=re.escape(told)):
        make(instance_types=types, job=job)


def test_more_vcpus_than_the_environment_may_have_are_refused(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match=r"job.vcpus is 8, but max_vcpus lets .* have 4"):
        make(max_vcpus=4, job=JobArgs(vcpus=8))
