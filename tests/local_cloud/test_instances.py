"""Machines through EC2's API: launch rules, states, spot, templates, attributes, what stays."""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import botocore.handlers
import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from local_cloud.machines.recorded import RecordedMachines
from tests.local_cloud.conftest import REGION
from tests.local_cloud.samples import (
    base_image,
    error_code,
    launch,
    machine,
    profile,
    wait_until,
)


def refused(aws: Any, **params: Any) -> tuple[str, str]:
    """The code and message with which a launch is refused."""
    asked = {"ImageId": base_image(aws), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    ec2 = aws("ec2")
    # boto3 would encode user data by itself.
    ec2.meta.events.unregister(
        "before-parameter-build.ec2.RunInstances", botocore.handlers.base64_encode_user_data
    )
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(**(asked | params))
    return error_code(caught.value), caught.value.response["Error"]["Message"]


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
    assert refused(aws, ClientToken="abc", InstanceType="t3.large")[0] == (
        "IdempotentParameterMismatch"
    )
    aws("ec2").terminate_instances(InstanceIds=[first])
    wait_until(aws, first, "terminated")
    assert launch(aws, ClientToken="abc") == first
    assert len(aws("ec2").describe_instances()["Reservations"]) == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t9.huge"}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"KeyName": "none"}, "InvalidKeyPair.NotFound"),
        ({"UserData": "not base64!"}, "InvalidParameterValue"),
        ({"MinCount": 2}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"LaunchTemplate": {"LaunchTemplateName": "none"}},
         "InvalidLaunchTemplateName.NotFoundException"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}]},
         "InvalidBlockDeviceMapping"),
        ({"BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeInitializationRate": 50}}]},
         "InvalidParameterValue"),
        ({"HibernationOptions": {"Configured": True}}, "NotImplemented"),
        ({"TagSpecifications": [{"ResourceType": "instance",
                                 "Tags": [{"Key": "aws:mine", "Value": "x"}]}]},
         "InvalidParameterValue"),
    ],
)  # fmt: skip
def test_a_launch_that_ec2_would_refuse_is_refused(
    cloud: Cloud, aws: Any, params: dict[str, Any], code: str
) -> None:
    assert refused(aws, **params)[0] == code
    assert all(items == [] for items in take_inventory(cloud).values())


def test_a_group_of_another_network_is_refused(aws: Any) -> None:
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="far", Description="far", VpcId=vpc)["GroupId"]
    code, message = refused(aws, SecurityGroupIds=[group])
    assert code == "InvalidParameter"
    assert "different networks" in message


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


def test_a_launch_template_is_honoured_and_can_be_overridden(aws: Any) -> None:
    ec2 = aws("ec2")
    name = profile(aws)
    root = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 40, "VolumeType": "gp3",
                                               "VolumeInitializationRate": 200}}  # fmt: skip
    template = ec2.create_launch_template(
        LaunchTemplateName="t",
        LaunchTemplateData={
            "ImageId": base_image(aws), "InstanceType": "g5.xlarge",
            "IamInstanceProfile": {"Name": name}, "BlockDeviceMappings": [root],
            "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}
            ],
        },
    )["LaunchTemplate"]["LaunchTemplateId"]  # fmt: skip
    ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.nano"}
    )
    named = {"LaunchTemplateId": template, "Version": "$Default"}
    made = ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)["Instances"][0]
    assert made["InstanceType"] == "g5.xlarge"
    assert made["IamInstanceProfile"]["Arn"].endswith(f"/{name}")
    assert made["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert tags == {
        "from": "template",
        "aws:ec2launchtemplate:id": template,
        "aws:ec2launchtemplate:version": "1",
    }
    volume = ec2.describe_volumes()["Volumes"][0]
    assert (volume["Size"], volume["VolumeInitializationRate"]) == (40, 200)
    data = ec2.describe_instance_attribute(InstanceId=made["InstanceId"], Attribute="userData")
    assert base64.b64decode(data["UserData"]["Value"]) == b"#!/bin/sh\n"
    latest = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": "t", "Version": "1"}, InstanceType="t3.small",
        MinCount=1, MaxCount=1,
    )["Instances"][0]  # fmt: skip
    assert latest["InstanceType"] == "t3.small"


def test_a_template_version_that_is_not_there_is_refused(aws: Any) -> None:
    aws("ec2").create_launch_template(
        LaunchTemplateName="t", LaunchTemplateData={"InstanceType": "t3.nano"}
    )
    code, _ = refused(aws, LaunchTemplate={"LaunchTemplateName": "t", "Version": "7"})
    assert code == "InvalidLaunchTemplateId.VersionNotFound"


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
