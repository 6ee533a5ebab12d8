"""Images, snapshots and volumes through EC2's API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from tests.local_cloud.samples import base_image, error_code, launch, profile, wait_until
from tests.waiting import PATIENT


@pytest.fixture
def running(aws: Any) -> str:
    """A machine that runs, from the GPU base image."""
    instance_id = launch(aws)
    wait_until(aws, instance_id, "running")
    return instance_id


def make_image(aws: Any, instance_id: str, name: str = "made", **params: Any) -> dict[str, Any]:
    ec2 = aws("ec2")
    image_id = ec2.create_image(InstanceId=instance_id, Name=name, NoReboot=True, **params)[
        "ImageId"
    ]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=PATIENT)
    image: dict[str, Any] = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    return image


def snapshot_of(image: dict[str, Any]) -> str:
    return str(image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])


def codes(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return error_code(caught.value)


def test_an_image_has_its_tags_sizes_and_source(aws: Any, running: str) -> None:
    tags = [{"Key": "k", "Value": "v"}]
    image = make_image(
        aws, running,
        TagSpecifications=[{"ResourceType": "image", "Tags": tags},
                           {"ResourceType": "snapshot", "Tags": tags}],
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 50}}],
    )  # fmt: skip
    assert image["Tags"] == tags
    assert (image["SourceInstanceId"], image["SourceImageId"]) == (running, base_image(aws))
    assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 50
    (snapshot,) = aws("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert snapshot["SnapshotId"] == snapshot_of(image)
    assert snapshot["Tags"] == tags
    assert (snapshot["VolumeSize"], snapshot["State"]) == (30, "completed")
    assert 0 < snapshot["FullSnapshotSizeInBytes"] <= 30 * 1024**3


def test_a_second_image_of_the_same_name_is_refused_until_the_first_is_gone(
    aws: Any, running: str
) -> None:
    ec2 = aws("ec2")
    first = make_image(aws, running, "one-name")
    with pytest.raises(ClientError) as caught:
        ec2.create_image(InstanceId=running, Name="one-name")
    assert error_code(caught.value) == "InvalidAMIName.Duplicate"
    assert first["ImageId"] in caught.value.response["Error"]["Message"]
    ec2.deregister_image(ImageId=first["ImageId"])
    assert make_image(aws, running, "one-name")["ImageId"] != first["ImageId"]


def test_without_no_reboot_the_machine_comes_up_again(cloud: Cloud, aws: Any, running: str) -> None:
    ec2 = aws("ec2")
    image_id = ec2.create_image(InstanceId=running, Name="rebooted")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=PATIENT)
    assert cloud.machines.is_up(running)
    assert wait_until(aws, running, "running")["State"]["Name"] == "running"


def test_snapshots_in_use_stay_and_go_with_their_image_when_asked(
    cloud: Cloud, aws: Any, running: str
) -> None:
    ec2 = aws("ec2")
    image = make_image(aws, running)
    assert codes(ec2.delete_snapshot, SnapshotId=snapshot_of(image)) == "InvalidSnapshot.InUse"
    answer = ec2.deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
    assert [r["ReturnCode"] for r in answer["DeleteSnapshotResults"]] == ["success"]
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    with pytest.raises(KeyError):
        cloud.disks.usage(snapshot_of(image))
    found = ec2.describe_images(Owners=["self"])["Images"]
    assert found == []
    assert codes(ec2.describe_images, ImageIds=[image["ImageId"]]) == "InvalidAMIID.NotFound"
    assert codes(ec2.deregister_image, ImageId=image["ImageId"]) == "InvalidAMIID.Unavailable"
    asked = {"ImageId": image["ImageId"], "MinCount": 1, "MaxCount": 1}
    assert codes(ec2.run_instances, **asked) == "InvalidAMIID.Unavailable"


def test_a_machine_starts_from_a_made_image_with_its_size(aws: Any, running: str) -> None:
    image = make_image(aws, running)
    instance_id = launch(aws, ImageId=image["ImageId"])
    shown = wait_until(aws, instance_id, "running")
    volume_id = shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (volume,) = aws("ec2").describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert volume["SnapshotId"] == snapshot_of(image)
    references = aws("ec2").describe_image_references(
        ImageIds=[image["ImageId"]], IncludeAllResourceTypes=True
    )["ImageReferences"]
    assert [r["Arn"].rsplit("/", 1)[-1] for r in references] == [instance_id]


def test_base_images_are_found_by_name_owner_and_parameter(aws: Any) -> None:
    ec2 = aws("ec2")
    found = ec2.describe_images(
        Owners=["amazon"],
        Filters=[{"Name": "name", "Values": ["al2023-ami-ecs-gpu-hvm-*"]},
                 {"Name": "state", "Values": ["available"]}],
    )["Images"]  # fmt: skip
    assert [image["ImageId"] for image in found] == [base_image(aws)]
    assert found[0]["RootDeviceName"] == "/dev/xvda"
    assert found[0]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 30
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    assert codes(ec2.deregister_image, ImageId=base_image(aws)) == "AuthFailure"
    names = aws("ssm").get_parameters(
        Names=[
            "/aws/service/ecs/optimized-ami/amazon-linux-2/gpu/recommended",
            "/aws/service/ecs/optimized-ami/amazon-linux-2/gpu/recommended/image_id",
            "/aws/service/ecs/optimized-ami/none/recommended/image_id",
        ]
    )
    assert len(names["Parameters"]) == 2
    assert names["InvalidParameters"] == [
        "/aws/service/ecs/optimized-ami/none/recommended/image_id"
    ]


def test_a_copy_in_another_region_stands_on_its_own(aws: Any, running: str) -> None:
    image = make_image(aws, running, TagSpecifications=[
        {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}])  # fmt: skip
    there = aws("ec2", region="us-west-2")
    asked = {
        "SourceImageId": image["ImageId"], "SourceRegion": "ap-northeast-2", "Name": "copied",
        "ClientToken": "once", "CopyImageTags": True, "Encrypted": True,
    }  # fmt: skip
    copied = there.copy_image(**asked)["ImageId"]
    assert there.copy_image(**asked)["ImageId"] == copied
    aws("ec2").deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
    (shown,) = there.describe_images(ImageIds=[copied])["Images"]
    assert shown["Tags"] == [{"Key": "a", "Value": "b"}]
    assert shown["SourceImageId"] == image["ImageId"]
    assert shown["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
    assert there.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]["State"] == "completed"


def test_sharing_shows_the_image_to_the_other_account_without_its_tags(
    cloud: Cloud, aws: Any, running: str
) -> None:
    other = "210987654321"
    trusted = aws("sts").assume_role(
        RoleArn=f"arn:aws:iam::{other}:role/any", RoleSessionName="other"
    )["Credentials"]
    theirs = boto3.client(
        "ec2", endpoint_url=cloud.endpoint, region_name="ap-northeast-2",
        aws_access_key_id=trusted["AccessKeyId"],
        aws_secret_access_key=trusted["SecretAccessKey"],
        aws_session_token=trusted["SessionToken"],
    )  # fmt: skip
    image = make_image(aws, running, TagSpecifications=[
        {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}])  # fmt: skip
    ids = [image["ImageId"]]
    assert codes(theirs.describe_images, ImageIds=ids) == "InvalidAMIID.NotFound"
    ec2 = aws("ec2")
    ec2.modify_image_attribute(ImageId=ids[0], LaunchPermission={"Add": [{"UserId": other}]})
    (shown,) = theirs.describe_images(ImageIds=ids)["Images"]
    assert (shown["OwnerId"], shown.get("Tags", [])) == ("123456789012", [])
    held = ec2.describe_image_attribute(ImageId=ids[0], Attribute="launchPermission")
    assert held["LaunchPermissions"] == [{"UserId": other}]
    ec2.modify_image_attribute(
        ImageId=ids[0], Attribute="launchPermission", OperationType="remove", UserIds=[other]
    )
    assert codes(theirs.describe_images, ImageIds=ids) == "InvalidAMIID.NotFound"


def test_disabled_deprecated_and_protected_images(aws: Any, running: str) -> None:
    ec2 = aws("ec2")
    image_id = make_image(aws, running)["ImageId"]
    ec2.disable_image(ImageId=image_id)
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    assert len(ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]) == 1
    asked = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1}
    assert codes(ec2.run_instances, **asked) == "InvalidAMIID.Unavailable"
    ec2.enable_image(ImageId=image_id)
    at = datetime.now(UTC) + timedelta(days=30)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=at)
    assert ec2.describe_images(ImageIds=[image_id])["Images"][0]["DeprecationTime"].startswith(
        at.strftime("%Y-%m-%dT%H:%M")
    )
    ec2.enable_image_deregistration_protection(ImageId=image_id)
    assert codes(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    ec2.deregister_image(ImageId=image_id)


def test_volumes_are_made_grown_snapshotted_and_deleted(cloud: Cloud, aws: Any) -> None:
    ec2 = aws("ec2")
    zone = "ap-northeast-2a"
    assert codes(ec2.create_volume, AvailabilityZone=zone) == "MissingParameter"
    made = ec2.create_volume(
        AvailabilityZone=zone, Size=4, VolumeType="gp3", Throughput=300,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}],
    )  # fmt: skip
    volume_id = made["VolumeId"]
    assert (made["State"], made["Iops"], made["Throughput"]) == ("creating", 3000, 300)
    assert codes(ec2.modify_volume, VolumeId=volume_id, Size=2) == "InvalidParameterValue"
    ec2.modify_volume(VolumeId=volume_id, Size=9)
    assert cloud.disks.usage(volume_id).size_bytes == 9 * 1024**3
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id, Description="mine")["SnapshotId"]
    asked = {"AvailabilityZone": zone, "SnapshotId": snapshot_id}
    assert codes(ec2.create_volume, Size=5, **asked) == "InvalidParameterValue"
    assert ec2.create_volume(**asked)["Size"] == 9
    for volume in ec2.describe_volumes()["Volumes"]:
        ec2.delete_volume(VolumeId=volume["VolumeId"])
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert codes(ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.NotFound"
    assert all(items == [] for items in take_inventory(cloud).values())


def test_the_inventory_lists_what_the_account_made_and_nothing_of_awss(
    cloud: Cloud, aws: Any, running: str
) -> None:
    profile(aws, "mine")
    make_image(aws, running)
    aws("ec2").create_launch_template(
        LaunchTemplateName="t", LaunchTemplateData={"InstanceType": "t3.nano"}
    )
    aws("iam").create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    aws("logs").create_log_group(logGroupName="/mine")
    found = {kind: len(items) for kind, items in take_inventory(cloud).items() if items}
    assert found == {
        "machine": 1, "volume": 1, "image": 1, "snapshot": 1, "template": 1, "role": 1,
        "instance profile": 1, "log group": 1,
    }  # fmt: skip
    name = aws("iam").get_role(RoleName="AWSServiceRoleForBatch")["Role"]["Path"]
    assert name == "/aws-service-role/batch.amazonaws.com/"
