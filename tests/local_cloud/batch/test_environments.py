"""Compute environments: what Batch refuses, what becomes INVALID, what is updated in place."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

OWN_ROLE = "arn:aws:iam::123456789012:role/own"


def refusal(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == "ClientException"
    return str(caught.value.response["Error"]["Message"])


def test_a_new_environment_becomes_valid_with_batchs_own_role(world: Any) -> None:
    made = world.create("fresh", tags={"Name": "gpu"})
    assert (made["status"], made["statusReason"]) == ("VALID", "ComputeEnvironment Healthy")
    assert made["serviceRole"].endswith(
        "role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    )
    assert world.iam.get_role(RoleName="AWSServiceRoleForBatch")
    assert made["computeResources"]["minvCpus"] == made["computeResources"]["desiredvCpus"] == 0
    assert made["ecsClusterArn"].startswith("arn:aws:ecs:ap-northeast-2:123456789012:cluster/")
    assert "updatePolicy" not in made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"minvCpus": 32}, "minvCpus"),
        ({"desiredvCpus": 64}, "desiredvCpus should be between minvCpus and maxvCpus"),
        ({"instanceTypes": ["g5.nonsense"]}, "g5.nonsense"),
        ({"instanceTypes": []}, "Instance types are required"),
        ({"subnets": []}, "Subnets are required"),
        ({"instanceRole": None}, "Instance role is required."),
        ({"type": "EC2"}, "SPOT_PRICE_CAPACITY_OPTIMIZED is not supported for EC2"),
        ({"allocationStrategy": "BEST_FIT"}, "spotIamFleetRole is required"),
        ({"bidPercentage": 101}, "bidPercentage should be between 0 and 100"),
        ({"ec2Configuration": [{"imageType": "ECS_AL2055"}]}, "Invalid imageType: ECS_AL2055"),
        ({"ec2Configuration": [{"imageType": "ECS_AL2_NVIDIA"}]}, "imageIdOverride of your own"),
    ],
)
def test_contradictions_are_refused_at_once(world: Any, changes: dict[str, Any], said: str) -> None:
    message = refusal(
        world.batch.create_compute_environment,
        computeEnvironmentName="refused",
        type="MANAGED",
        computeResources=world.resources(**changes),
    )
    assert said in message
    assert message.startswith("Error executing request, Exception : ")
    found = world.batch.describe_compute_environments(computeEnvironments=["refused"])
    assert found["computeEnvironments"] == []


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("no-subnet", {"subnets": ["subnet-0123456789abcdef0"]}, "subnet-0123456789abcdef0"),
        ("no-group", {"securityGroupIds": ["sg-0123456789abcdef0"]}, "sg-0123456789abcdef0"),
        (
            "no-profile",
            {"instanceRole": "gone"},
            "CLIENT_ERROR - Invalid IamInstanceProfile: gone",
        ),
        (
            "no-template",
            {"launchTemplate": {"launchTemplateId": "lt-0123456789abcdef0"}},
            "lt-0123456789abcdef0",
        ),
        (
            "no-image",
            {
                "ec2Configuration": [
                    {
                        "imageType": "ECS_AL2023_NVIDIA",
                        "imageIdOverride": "ami-0123456789abcdef0",
                    }
                ]
            },
            "The image id '[ami-0123456789abcdef0]' does not exist",
        ),
        ("no-groups", {"securityGroupIds": None}, "Network Interfaces in Launch template"),
    ],
)
def test_what_is_missing_around_it_makes_it_invalid(
    world: Any, name: str, changes: dict[str, Any], reason: str
) -> None:
    made = world.create(name, **changes)
    assert made["status"] == "INVALID"
    assert made["statusReason"].startswith("CLIENT_ERROR - ")
    assert reason in made["statusReason"]


def test_user_data_must_be_mime_multipart(world: Any) -> None:
    plain = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    world.ec2.create_launch_template_version(
        LaunchTemplateId=world.template, LaunchTemplateData={"UserData": plain}
    )
    parts = (
        b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="=="\n\n'
        b'--==\nContent-Type: text/x-shellscript; charset="us-ascii"\n\n#!/bin/sh\n--==--\n'
    )
    world.ec2.create_launch_template_version(
        LaunchTemplateId=world.template,
        LaunchTemplateData={"UserData": base64.b64encode(parts).decode()},
    )
    template = {"launchTemplateId": world.template}
    plain_one = world.create("plain-data", launchTemplate=template | {"version": "2"})
    assert (
        plain_one["statusReason"]
        == "CLIENT_ERROR - Launch Template UserData is not MIME multipart format"
    )
    mime_one = world.create("mime-data", launchTemplate=template | {"version": "3"})
    assert mime_one["status"] == "VALID"


def test_an_update_in_place_keeps_the_arn_and_takes_the_policy(world: Any) -> None:
    before = world.create("rolled")
    world.batch.update_compute_environment(
        computeEnvironment="rolled",
        computeResources={"maxvCpus": 32, "instanceTypes": ["g5.2xlarge"], "tags": {"a": "b"}},
        updatePolicy={"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 60},
    )
    after = world.settled("rolled")
    assert after["computeEnvironmentArn"] == before["computeEnvironmentArn"]
    assert after["computeResources"] == before["computeResources"] | {
        "maxvCpus": 32,
        "instanceTypes": ["g5.2xlarge"],
        "tags": {"a": "b"},
    }
    assert after["updatePolicy"]["jobExecutionTimeoutMinutes"] == 60


@pytest.mark.parametrize(
    ("name", "role", "changes", "said"),
    [
        ("other-role", OWN_ROLE, {}, "Batch Service Linked Role"),
        (
            "other-strategy",
            None,
            {"type": "EC2", "allocationStrategy": "BEST_FIT"},
            "allocation strategy",
        ),
    ],
)
def test_machines_change_in_place_only_with_the_linked_role_and_a_new_strategy(
    world: Any, name: str, role: str | None, changes: dict[str, Any], said: str
) -> None:
    world.create(name, role=role, **changes)
    message = refusal(
        world.batch.update_compute_environment,
        computeEnvironment=name,
        computeResources={"instanceTypes": ["g5.2xlarge"]},
    )
    assert "instanceTypes" in message
    assert said in message
    world.batch.update_compute_environment(
        computeEnvironment=name, computeResources={"maxvCpus": 8}
    )
    assert world.settled(name)["computeResources"]["maxvCpus"] == 8


def test_an_invalid_one_is_valid_again_once_its_surroundings_fit(world: Any) -> None:
    world.create("mended", instanceRole="later")
    world.iam.create_instance_profile(InstanceProfileName="later")
    world.batch.update_compute_environment(
        computeEnvironment="mended", computeResources={"maxvCpus": 16}
    )
    assert world.settled("mended")["status"] == "VALID"


def test_an_update_that_does_not_fit_makes_it_invalid_and_can_be_taken_back(world: Any) -> None:
    world.create("slipped")
    wrong = [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": "ami-0123456789abcdef0"}]
    world.batch.update_compute_environment(
        computeEnvironment="slipped", computeResources={"ec2Configuration": wrong}
    )
    assert world.settled("slipped")["status"] == "INVALID"
    right = [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": world.image}]
    world.batch.update_compute_environment(
        computeEnvironment="slipped", computeResources={"ec2Configuration": right}
    )
    assert world.settled("slipped")["status"] == "VALID"


def test_only_a_disabled_environment_without_a_queue_can_be_deleted(world: Any) -> None:
    batch, made = world.batch, world.create("leaving")
    assert "DISABLED" in refusal(batch.delete_compute_environment, computeEnvironment="leaving")
    batch.create_job_queue(
        jobQueueName="holder",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}],
    )
    batch.update_compute_environment(computeEnvironment="leaving", state="DISABLED")
    world.settled("leaving")
    message = refusal(batch.delete_compute_environment, computeEnvironment="leaving")
    assert message == "Cannot delete, found existing JobQueue relationship"


def test_names(world: Any) -> None:
    world.create("twice")
    params = {"type": "MANAGED", "computeResources": world.resources()}
    create = world.batch.create_compute_environment
    assert refusal(create, computeEnvironmentName="twice", **params) == "Object already exists"
    assert "name" in refusal(create, computeEnvironmentName="no spaces", **params)
    message = refusal(world.batch.update_compute_environment, computeEnvironment="nobody")
    assert message == "nobody does not exist"


def test_tags(world: Any) -> None:
    arn = world.create("tagged")["computeEnvironmentArn"]
    world.batch.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    world.batch.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert world.batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
    assert world.settled("tagged")["tags"] == {"b": "2"}


def test_what_its_machines_are_launched_with_is_fixed_at_the_infrastructure_update(
    world: Any,
) -> None:
    latest = {"launchTemplateId": world.template, "version": "$Default"}
    world.create("fixed", launchTemplate=latest)
    from local_cloud.services.batch_model import environments

    record = environments(world.cloud)["123456789012", "ap-northeast-2", "fixed"]
    assert record.launches == {
        "launchTemplateId": world.template,
        "launchTemplateVersion": 1,
        "imageIds": [world.image],
    }
