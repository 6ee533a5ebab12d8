"""Launch rules: what is refused, templates, fleets."""

from __future__ import annotations

import base64
from typing import Any

import botocore.handlers
import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from tests.local_cloud.samples import (
    base_image,
    error_code,
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


def fleet(aws: Any, template: str, *types: str, **params: Any) -> dict[str, Any]:
    overrides = [{"InstanceType": one, "SubnetId": "subnet-0a10ca10000000002"} for one in types]
    made: dict[str, Any] = aws("ec2").create_fleet(
        Type="instant",
        TargetCapacitySpecification={
            "TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot",
        },
        LaunchTemplateConfigs=[{
            "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
            "Overrides": overrides,
        }],
        **params,
    )  # fmt: skip
    return made


def test_an_instant_fleet_takes_the_first_type_that_can_be_launched(aws: Any) -> None:
    template = aws("ec2").create_launch_template(
        LaunchTemplateName="fleet", LaunchTemplateData={"ImageId": base_image(aws)}
    )["LaunchTemplate"]["LaunchTemplateId"]
    (made,) = fleet(aws, template, "t9.huge", "t3.micro")["Instances"]
    assert (made["InstanceType"], made["Lifecycle"]) == ("t3.micro", "spot")
    shown = wait_until(aws, made["InstanceIds"][0], "running")
    assert shown["InstanceLifecycle"] == "spot"
    assert shown["SubnetId"] == "subnet-0a10ca10000000002"
    none = fleet(aws, template, "t9.huge")
    assert none["Instances"] == []
    assert [one["ErrorCode"] for one in none["Errors"]] == ["InvalidParameterValue"]
