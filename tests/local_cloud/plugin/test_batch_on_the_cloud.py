"""Batch's resources through the plugin on a cloud: a new AMI rolls in, or makes it INVALID."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from local_cloud.pulumi_plugin.values import from_struct, to_struct
from local_cloud.services.batch_environments import go_on
from local_cloud.services.batch_model import environments
from tests.local_cloud.plugin.conftest import Engine, Resource
from tests.waiting import PATIENT, until

ENVIRONMENT = "aws:batch/computeEnvironment:ComputeEnvironment"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GONE = "ami-0123456789abcdef0"


def wait_until_settled(cloud: Any) -> None:
    """Until no environment changes any more."""
    changing = ("CREATING", "UPDATING")
    until(lambda: all(one.status not in changing for one in environments(cloud).values()))


class Stack:
    """A template, and an environment that names its latest version."""

    def __init__(self, engine: Engine, image: str, profile: str) -> None:
        self.engine, self.profile = engine, profile
        self.template = engine.create(TEMPLATE, "host", self.of_template(image))
        self.environment = engine.create(ENVIRONMENT, "gpu", self.of_environment(image))

    def of_template(self, image: str) -> dict[str, Any]:
        return {"imageId": image, "updateDefaultVersion": True}

    def of_environment(self, image: str) -> dict[str, Any]:
        return {
            "type": "MANAGED",
            "computeResources": {
                "type": "SPOT",
                "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
                "maxVcpus": 16,
                "instanceTypes": ["g5.xlarge"],
                "subnets": ["subnet-0a10ca10000000001"],
                "securityGroupIds": ["sg-0a10ca1000000000f"],
                "instanceRole": self.profile,
                "ec2Configurations": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": image}],
                "launchTemplate": {
                    "launchTemplateId": self.template.id,
                    "version": str(self.template.state["latestVersion"]),
                },
                "tags": {"Name": "gpu"},
            },
            "updatePolicy": {"jobExecutionTimeoutMinutes": 45},
            "tags": {"a": "1"},
        }


@pytest.fixture(scope="module")
def profile(cloud: Any, aws: Any) -> str:
    iam = aws.client("iam")
    iam.create_role(RoleName="plugin-host", AssumeRolePolicyDocument="{}")
    made = iam.create_instance_profile(InstanceProfileName="plugin-host")["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName="plugin-host", RoleName="plugin-host")
    return str(made["Arn"])


@pytest.fixture
def stack(engine: Engine, base_image: str, profile: str) -> Iterator[Stack]:
    stack = Stack(engine, base_image, profile)
    yield stack
    engine.delete(stack.environment)
    engine.delete(stack.template)


def init_failure(caught: Any) -> tuple[str, provider_pb2.ErrorResourceInitFailed]:
    """The message, and the resource that an engine would keep."""
    metadata = {each.key: each.value for each in caught.value.trailing_metadata()}
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    return caught.value.details(), detail


def test_a_new_ami_rolls_in_with_the_same_arn(
    engine: Engine, stack: Stack, aws: Any, base_image: str
) -> None:
    made = stack.environment
    assert made.state["status"] == "VALID"
    assert made.state["updatePolicy"]["jobExecutionTimeoutMinutes"] == 45
    assert engine.diff(made, stack.of_environment(base_image)).nothing
    refreshed = engine.read(made)
    assert refreshed is not None
    assert refreshed.inputs == made.inputs

    ec2 = aws.client("ec2")
    machine = ec2.run_instances(
        ImageId=base_image, InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[machine], WaiterConfig=PATIENT)
    other = ec2.create_image(InstanceId=machine, Name="other", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[other], WaiterConfig=PATIENT)
    ec2.terminate_instances(InstanceIds=[machine])

    stack.template = engine.update(stack.template, stack.of_template(other))
    assert stack.template.state["latestVersion"] == stack.template.state["defaultVersion"] == 2
    seen = engine.diff(made, stack.of_environment(other))
    assert seen.replacing == []
    assert seen.in_place == [
        "computeResources.ec2Configurations[0].imageIdOverride",
        "computeResources.launchTemplate.version",
    ]
    after = engine.update(made, stack.of_environment(other))
    assert after.state["arn"] == made.state["arn"]
    assert after.state["status"] == "VALID"
    stack.environment = after


def test_an_environment_that_becomes_invalid_is_kept_and_can_be_mended(
    engine: Engine, base_image: str, profile: str
) -> None:
    good = Stack(engine, base_image, profile)
    with pytest.raises(grpc.RpcError) as caught:
        engine.create(ENVIRONMENT, "broken", good.of_environment(GONE))
    message, detail = init_failure(caught)
    assert f"The image id '[{GONE}]' does not exist" in message
    assert "INVALID" in message
    kept = Resource(
        engine.urn(ENVIRONMENT, "broken"),
        detail.id,
        from_struct(detail.inputs),
        from_struct(detail.properties),
    )
    assert kept.state["status"] == "INVALID"
    assert kept.state["arn"].endswith(kept.id)
    mended = engine.update(kept, good.of_environment(base_image))
    assert mended.state["status"] == "VALID"
    assert mended.state["updatePolicy"]["jobExecutionTimeoutMinutes"] == 45
    for one in (mended, good.environment, good.template):
        engine.delete(one)
        assert engine.read(one) is None


def test_an_update_that_becomes_invalid_keeps_the_resource_and_can_be_taken_back(
    engine: Engine, stack: Stack, base_image: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        engine.update(stack.environment, stack.of_environment(GONE))
    _, detail = init_failure(caught)
    assert detail.id == stack.environment.id
    stack.environment.inputs = from_struct(detail.inputs)
    stack.environment.state = from_struct(detail.properties)
    stack.environment = engine.update(stack.environment, stack.of_environment(base_image))
    assert stack.environment.state["status"] == "VALID"


def test_an_update_with_nothing_changed_neither_asks_nor_waits(
    engine: Engine, cloud: Any, stack: Stack, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the real provider: what an earlier update left UPDATING is somebody else's to wait for."""
    monkeypatch.setattr(cloud, "background", lambda _name, _job: None)  # it stays UPDATING
    slow = stack.of_environment(base_image)
    slow["computeResources"] |= {"maxVcpus": 8}
    with pytest.raises(grpc.RpcError) as caught:
        engine.stub.Update(
            provider_pb2.UpdateRequest(
                id=stack.environment.id,
                urn=stack.environment.urn,
                olds=to_struct(stack.environment.state),
                old_inputs=to_struct(stack.environment.inputs),
                news=to_struct(engine.check(stack.environment.urn, slow, {})[0]),
                timeout=0.5,
            )
        )
    message, detail = init_failure(caught)
    assert "timed out while waiting" in message
    stack.environment.inputs = from_struct(detail.inputs)
    stack.environment.state = from_struct(detail.properties)
    again = engine.update(stack.environment, slow)
    assert again.state["status"] == "UPDATING"
    monkeypatch.undo()
    go_on(cloud)
    wait_until_settled(cloud)


def test_a_refused_request_carries_awss_code_and_words(engine: Engine, stack: Stack) -> None:
    inputs = stack.of_environment("ami-1")
    inputs["computeResources"] |= {"instanceTypes": ["g5.nonsense"]}
    with pytest.raises(grpc.RpcError) as caught:
        engine.create(ENVIRONMENT, "refused", inputs)
    assert "grpc-status-details-bin" not in {each.key for each in caught.value.trailing_metadata()}
    details = str(caught.value.details())
    assert details.startswith(f"creating {ENVIRONMENT} 'refused': ")
    assert "CreateComputeEnvironment, ClientException: Error executing request" in details
    assert "g5.nonsense" in details


def test_a_queue_moves_between_environments(engine: Engine, stack: Stack, base_image: str) -> None:
    second = engine.create(ENVIRONMENT, "second", stack.of_environment(base_image))

    def of_queue(*arns: str, **changes: Any) -> dict[str, Any]:
        orders = [{"order": n, "computeEnvironment": arn} for n, arn in enumerate(arns, 1)]
        return {"priority": 1, "state": "ENABLED", "computeEnvironmentOrders": orders} | changes

    first_arn, second_arn = stack.environment.state["arn"], second.state["arn"]
    queue = engine.create("aws:batch/jobQueue:JobQueue", "work", of_queue(first_arn))
    assert engine.diff(queue, of_queue(first_arn)).nothing
    refreshed = engine.read(queue)
    assert refreshed is not None
    assert refreshed.inputs == queue.inputs
    wanted = of_queue(second_arn, first_arn, priority=5, tags={"a": "1"})
    assert engine.diff(queue, wanted).replacing == []
    queue = engine.update(queue, wanted)
    assert engine.diff(queue, wanted).nothing
    with pytest.raises(grpc.RpcError, match="found existing JobQueue relationship"):
        engine.delete(second)
    engine.delete(queue)
    assert engine.read(queue) is None
    engine.delete(second)


def test_a_job_definitions_old_revision_goes_unless_it_is_to_stay(engine: Engine, aws: Any) -> None:
    kind = "aws:batch/jobDefinition:JobDefinition"
    inputs: dict[str, Any] = {
        "type": "container",
        "containerProperties": {
            "image": "one",
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "128"},
            ],
        },
    }
    made = engine.create(kind, "job", inputs)
    assert engine.diff(made, inputs).nothing
    other = inputs | {"containerProperties": inputs["containerProperties"] | {"image": "two"}}
    after = engine.update(made, other)
    assert (after.state["revision"], after.id) == (2, made.id)
    assert after.state["arn"].endswith(":2")
    kept = engine.update(after, inputs | {"deregisterOnNewRevision": False})
    batch = aws.client("batch")
    found = batch.describe_job_definitions(jobDefinitionName=made.state["name"])["jobDefinitions"]
    status = {each["revision"]: each["status"] for each in found}
    assert status == {1: "INACTIVE", 2: "ACTIVE", 3: "ACTIVE"}
    assert engine.read(kept) is not None
    engine.delete(kept)
    assert engine.read(kept) is None


def test_a_wait_that_takes_too_long_keeps_the_resource(
    engine: Engine, cloud: Any, stack: Stack, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "background", lambda _name, _job: None)  # it stays CREATING
    with pytest.raises(grpc.RpcError) as caught:
        engine.create(ENVIRONMENT, "slow", stack.of_environment(base_image), timeout=0.5)
    message, detail = init_failure(caught)
    assert "timed out while waiting" in message
    monkeypatch.undo()
    go_on(cloud)  # as a cloud that starts again does
    wait_until_settled(cloud)
    urn = engine.urn(ENVIRONMENT, "slow")
    inputs, state = from_struct(detail.inputs), from_struct(detail.properties)
    engine.delete(Resource(urn, detail.id, inputs, state))


def test_a_wait_ends_when_the_engine_cancels(
    engine: Engine, cloud: Any, stack: Stack, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "background", lambda _name, _job: None)  # it stays CREATING
    engine.stub.Cancel(empty_pb2.Empty())
    with pytest.raises(grpc.RpcError) as caught:
        engine.create(ENVIRONMENT, "stopped", stack.of_environment(base_image))
    message, detail = init_failure(caught)
    assert "cancelled while waiting" in message
    monkeypatch.undo()
    go_on(cloud)
    wait_until_settled(cloud)
    engine.configure(region=cloud.region)  # an engine that is started again has a new plugin
    urn = engine.urn(ENVIRONMENT, "stopped")
    engine.delete(Resource(urn, detail.id, {}, from_struct(detail.properties)))


def test_functions(engine: Engine, base_image: str) -> None:
    who = engine.invoke("aws:index/getCallerIdentity:getCallerIdentity")
    assert who["accountId"] == "123456789012"
    assert engine.invoke("aws:index/getRegion:getRegion")["region"] == "ap-northeast-2"
    assert engine.invoke("aws:index/getPartition:getPartition")["partition"] == "aws"
    subnet = engine.invoke("aws:ec2/getSubnet:getSubnet", id="subnet-0a10ca10000000001")
    assert subnet["vpcId"] == "vpc-0a10ca1000000000a"
    group = engine.invoke("aws:ec2/getSecurityGroup:getSecurityGroup", id="sg-0a10ca1000000000f")
    assert group["vpcId"] == subnet["vpcId"]
    assert engine.invoke("aws:ec2/getVpc:getVpc", default=True)["id"] == subnet["vpcId"]
    subnets = engine.invoke(
        "aws:ec2/getSubnets:getSubnets",
        filters=[{"name": "vpc-id", "values": [subnet["vpcId"]]}],
    )
    assert subnet["id"] in subnets["ids"]
    name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    assert engine.invoke("aws:ssm/getParameter:getParameter", name=name)["value"] == base_image
    named = [{"name": "instance-type", "values": ["g5.xlarge", "g5.xlarg", "m5.large"]}]
    types = engine.invoke("aws:ec2/getInstanceTypes:getInstanceTypes", filters=named)
    assert sorted(types["instanceTypes"]) == ["g5.xlarge", "m5.large"]
    kind = engine.invoke("aws:ec2/getInstanceType:getInstanceType", instanceType="g5.xlarge")
    assert (kind["defaultVcpus"], kind["memorySize"]) == (4, 16384)
    assert [gpu["count"] for gpu in kind["gpuses"]] == [1]
    plain = engine.invoke("aws:ec2/getInstanceType:getInstanceType", instanceType="m5.large")
    assert plain["gpuses"] == []
    with pytest.raises(grpc.RpcError, match="InvalidInstanceType"):
        engine.invoke("aws:ec2/getInstanceType:getInstanceType", instanceType="g5.xlarg")
    with pytest.raises(grpc.RpcError, match="no matching EC2 Subnet found"):
        engine.invoke("aws:ec2/getSubnet:getSubnet", vpcId="vpc-0123456789abcdef0")


def test_a_policy_document_is_made_without_aws(offline: Engine) -> None:
    answer = offline.invoke(
        "aws:iam/getPolicyDocument:getPolicyDocument",
        statements=[
            {
                "actions": ["sts:AssumeRole"],
                "principals": [{"type": "Service", "identifiers": ["ec2.amazonaws.com"]}],
                "conditions": [{"test": "StringEquals", "variable": "aws:x", "values": ["y"]}],
            }
        ],
    )
    import json

    assert json.loads(answer["json"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Condition": {"StringEquals": {"aws:x": "y"}},
            }
        ],
    }


def test_a_region_of_its_own(engine: Engine, aws: Any, cloud: Any) -> None:
    import boto3

    made = engine.create("aws:cloudwatch/logGroup:LogGroup", "far", {"region": "eu-west-1"})
    assert ":eu-west-1:" in made.state["arn"]
    far = boto3.Session("local", "local", region_name="eu-west-1").client("logs")
    groups = far.describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == [made.id]
    assert engine.diff(made, {"region": "eu-west-2"}).replacing == ["region"]
    assert engine.diff(made, {}).nothing
    engine.delete(made)
    assert engine.read(made) is None
