"""Machines through EC2's API: states, spot, tokens, attributes, what stays."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from local_cloud.machines.recorded import RecordedMachines
from tests.local_cloud.conftest import REGION
from tests.local_cloud.samples import (
    error_code,
    launch,
    machine,
    profile,
    wait_until,
)


def test_a_machine_lives_from_launch_to_termination(cloud: Cloud, aws: Any) -> None:
    instance_id = launch(
        aws,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "one"}]},
        ],
    )
    running = wait_until(aws, instance_id, "running")
    assert running["Tags"] == [{"Key": "Name", "Value": "one"}]
    assert isinstance(cloud.machines, RecordedMachines)
    assert cloud.machines.specs[instance_id].private_ip == running["PrivateIpAddress"]
    (volume,) = aws("ec2").describe_volumes()["Volumes"]
    assert (volume["Size"], volume["State"]) == (30, "in-use")
    assert volume["Tags"] == [{"Key": "of", "Value": "one"}]
    assert volume["Attachments"][0]["InstanceId"] == instance_id
    aws("ec2").terminate_instances(InstanceIds=[instance_id])
    gone = wait_until(aws, instance_id, "terminated")
    assert gone["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert aws("ec2").describe_volumes()["Volumes"] == []
    assert aws("ec2").describe_network_interfaces()["NetworkInterfaces"] == []
    assert all(items == [] for items in take_inventory(cloud).values())


def test_a_token_used_twice_gives_the_same_machine_also_when_it_is_gone(aws: Any) -> None:
    first = launch(aws, ClientToken="abc")
    assert launch(aws, ClientToken="abc") == first
    with pytest.raises(ClientError) as caught:
        launch(aws, ClientToken="abc", InstanceType="t3.large")
    assert error_code(caught.value) == "IdempotentParameterMismatch"
    aws("ec2").terminate_instances(InstanceIds=[first])
    wait_until(aws, first, "terminated")
    assert launch(aws, ClientToken="abc") == first
    assert len(aws("ec2").describe_instances()["Reservations"]) == 1


def test_a_one_time_spot_machine_cannot_be_stopped_and_its_request_closes(aws: Any) -> None:
    ec2 = aws("ec2")
    instance_id = launch(aws, InstanceMarketOptions={"MarketType": "spot"})
    shown = wait_until(aws, instance_id, "running")
    assert shown["InstanceLifecycle"] == "spot"
    with pytest.raises(ClientError) as caught:
        ec2.stop_instances(InstanceIds=[instance_id])
    assert error_code(caught.value) == "UnsupportedOperation"
    requests = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert [r["State"] for r in requests] == ["active"]
    assert requests[0]["SpotInstanceRequestId"] == shown["SpotInstanceRequestId"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until(aws, instance_id, "terminated")
    requests = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert [r["State"] for r in requests] == ["closed"]


def test_stop_and_start_keep_the_volume_and_the_address(cloud: Cloud, aws: Any) -> None:
    instance_id = launch(aws)
    before = wait_until(aws, instance_id, "running")
    aws("ec2").stop_instances(InstanceIds=[instance_id])
    wait_until(aws, instance_id, "stopped")
    assert not cloud.machines.is_up(instance_id)
    aws("ec2").start_instances(InstanceIds=[instance_id])
    after = wait_until(aws, instance_id, "running")
    assert cloud.machines.is_up(instance_id)
    same = ("PrivateIpAddress", "BlockDeviceMappings")
    assert [after[name] for name in same] == [before[name] for name in same]


@pytest.mark.parametrize(
    ("params", "state"),
    [
        ({}, "stopped"),
        ({"InstanceInitiatedShutdownBehavior": "terminate"}, "terminated"),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "terminated"),
    ],
)
def test_power_off_from_inside_obeys_the_shutdown_behaviour(
    cloud: Cloud, aws: Any, params: dict[str, Any], state: str
) -> None:
    instance_id = launch(aws, **params)
    wait_until(aws, instance_id, "running")
    assert isinstance(cloud.machines, RecordedMachines)
    cloud.machines.power_off_from_inside(instance_id)
    shown = wait_until(aws, instance_id, state)
    assert shown["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_protected_machine_is_not_terminated(aws: Any) -> None:
    ec2 = aws("ec2")
    instance_id = launch(aws, DisableApiTermination=True)
    with pytest.raises(ClientError) as caught:
        ec2.terminate_instances(InstanceIds=[instance_id])
    assert error_code(caught.value) == "OperationNotPermitted"
    ec2.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until(aws, instance_id, "terminated")


def test_a_volume_kept_on_termination_becomes_available(aws: Any) -> None:
    ec2 = aws("ec2")
    kept = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": False}}
    instance_id = launch(aws, BlockDeviceMappings=[kept])
    wait_until(aws, instance_id, "running")
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until(aws, instance_id, "terminated")
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], volume["State"], volume["Attachments"]) == (3, "available", [])
    ec2.delete_volume(VolumeId=volume["VolumeId"])
    assert ec2.describe_volumes()["Volumes"] == []


def test_a_group_or_subnet_in_use_cannot_be_deleted(aws: Any) -> None:
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    instance_id = launch(aws, SubnetId=subnet, SecurityGroupIds=[group])
    assert wait_until(aws, instance_id, "running")["PrivateIpAddress"].startswith("10.9.1.")
    for delete, params in (
        (ec2.delete_subnet, {"SubnetId": subnet}),
        (ec2.delete_security_group, {"GroupId": group}),
    ):
        with pytest.raises(ClientError) as caught:
            delete(**params)
        assert error_code(caught.value) == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until(aws, instance_id, "terminated")
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)


def test_filters_tags_and_pages_choose_machines(aws: Any) -> None:
    ec2 = aws("ec2")
    named = [
        launch(aws, TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "n", "Value": f"box-{n}"}]}])
        for n in range(3)
    ]  # fmt: skip

    def found(*filters: dict[str, Any]) -> list[str]:
        pages = ec2.get_paginator("describe_instances").paginate(
            Filters=list(filters), PaginationConfig={"PageSize": 5}
        )
        return [i["InstanceId"] for p in pages for r in p["Reservations"] for i in r["Instances"]]

    assert found() == named
    assert found({"Name": "tag:n", "Values": ["box-1", "nothing"]}) == [named[1]]
    assert found({"Name": "tag:n", "Values": ["box-*"]}) == named
    assert found({"Name": "tag-key", "Values": ["other"]}) == []
    assert found({"Name": "instance-state-name", "Values": ["terminated"]}) == []
    with pytest.raises(ClientError) as caught:
        found({"Name": "colour", "Values": ["red"]})
    assert error_code(caught.value) == "InvalidParameterValue"
    ec2.create_tags(Resources=[named[0]], Tags=[{"Key": "n", "Value": "changed"}])
    assert found({"Name": "tag:n", "Values": ["changed"]}) == [named[0]]
    ec2.delete_tags(Resources=[named[0]], Tags=[{"Key": "n"}])
    listed = ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["instance"]}])
    assert {tag["ResourceId"] for tag in listed["Tags"]} == set(named[1:])


def test_a_profile_gives_the_machine_its_roles_credentials(cloud: Cloud, aws: Any) -> None:
    name = profile(aws)
    instance_id = launch(
        aws, IamInstanceProfile={"Name": name}, UserData="#!/bin/sh\necho hi\n",
        MetadataOptions={"InstanceMetadataTags": "enabled", "HttpTokens": "required"},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "me"}]}],
    )  # fmt: skip
    shown = wait_until(aws, instance_id, "running")
    assert cloud.machines.metadata is not None
    found = cloud.machines.metadata(instance_id)
    assert found is not None
    assert found.user_data == b"#!/bin/sh\necho hi\n"
    assert found.tokens_required
    assert found.tree["meta-data/instance-id"] == instance_id
    assert found.tree["meta-data/local-ipv4"] == shown["PrivateIpAddress"]
    assert found.tree["meta-data/tags/instance/Name"] == "me"
    assert found.tree["meta-data/instance-life-cycle"] == "on-demand"
    given = json.loads(found.tree[f"meta-data/iam/security-credentials/{name}"])

    as_machine = boto3.client(
        "sts", endpoint_url=cloud.endpoint, region_name=REGION,
        aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
    )  # fmt: skip
    assert f":assumed-role/{name}/{instance_id}" in as_machine.get_caller_identity()["Arn"]
    again = cloud.machines.metadata(instance_id)
    assert again is not None
    assert (
        again.tree[f"meta-data/iam/security-credentials/{name}"]
        == (found.tree[f"meta-data/iam/security-credentials/{name}"])
    )


def test_unknown_machines_are_named(aws: Any) -> None:
    with pytest.raises(ClientError) as caught:
        machine(aws, "i-0123456789abcdef0")
    assert error_code(caught.value) == "InvalidInstanceID.NotFound"
    assert "i-0123456789abcdef0" in caught.value.response["Error"]["Message"]
