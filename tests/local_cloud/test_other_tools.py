"""Calls that Packer's and Terraform's own code makes, and what people type at the AWS CLI."""

from __future__ import annotations

from typing import Any

from tests.local_cloud.samples import (
    base_image,
    launch,
    machine,
    refused,
    wait_until,
)
from tests.waiting import PATIENT


def test_an_image_is_registered_of_snapshots_and_boots(aws: Any) -> None:
    ec2 = aws("ec2")
    source = launch(aws)
    wait_until(aws, source, "running")
    volume = machine(aws, source)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}
    empty = {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 6}}
    asked: dict[str, Any] = {
        "Name": "registered", "Architecture": "x86_64", "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [root, empty], "EnaSupport": True,
    }  # fmt: skip
    image = ec2.register_image(**asked)["ImageId"]
    (shown,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert (shown["State"], shown["RootDeviceName"], shown["EnaSupport"]) == (
        "available", "/dev/xvda", True,
    )  # fmt: skip
    assert [one["Ebs"].get("SnapshotId") for one in shown["BlockDeviceMappings"]] == [
        snapshot, None,
    ]  # fmt: skip
    assert refused(ec2.register_image, **asked)[0] == "InvalidAMIName.Duplicate"
    no_root = asked | {"Name": "no root", "BlockDeviceMappings": [empty]}
    assert refused(ec2.register_image, **no_root)[0] == "InvalidBlockDeviceMapping"
    arm = asked | {"Name": "arm", "Architecture": "arm64"}
    assert refused(ec2.register_image, **arm)[0] == "NotImplemented"

    copy = ec2.copy_image(SourceImageId=image, SourceRegion="ap-northeast-2", Name="copied")
    made = launch(aws, ImageId=copy["ImageId"])
    wait_until(aws, made, "running")
    assert len(machine(aws, made)["BlockDeviceMappings"]) == 2
    assert refused(ec2.delete_snapshot, SnapshotId=snapshot)[0] == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)


def test_an_image_gets_an_empty_disk_more_and_asks_for_metadata_tokens(aws: Any) -> None:
    ec2 = aws("ec2")
    source = launch(aws)
    wait_until(aws, source, "running")
    more = [{"DeviceName": "/dev/xvdc", "Ebs": {"VolumeSize": 6, "DeleteOnTermination": True}}]
    image = ec2.create_image(
        InstanceId=source, Name="two disks", NoReboot=True, BlockDeviceMappings=more
    )["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=PATIENT)
    ec2.modify_image_attribute(ImageId=image, ImdsSupport={"Value": "v2.0"})
    (shown,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert [one["DeviceName"] for one in shown["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/xvdc"]
    made = launch(aws, ImageId=image)
    wait_until(aws, made, "running")
    assert machine(aws, made)["MetadataOptions"]["HttpTokens"] == "required"
    assert len(machine(aws, made)["BlockDeviceMappings"]) == 2
    results = ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert [one["ReturnCode"] for one in results["DeleteSnapshotResults"]] == ["success"]


def test_a_copied_snapshot_is_described_by_the_copy_call_alone(aws: Any) -> None:
    ec2 = aws("ec2")
    volume = ec2.create_volume(AvailabilityZone="ap-northeast-2a", Size=1)["VolumeId"]
    source = ec2.create_snapshot(VolumeId=volume, Description="of the source")["SnapshotId"]
    copied = ec2.copy_snapshot(SourceSnapshotId=source, SourceRegion="ap-northeast-2")["SnapshotId"]
    (shown,) = ec2.describe_snapshots(SnapshotIds=[copied])["Snapshots"]
    assert shown["Description"] == ""


def test_names_that_are_not_there_are_told_as_they_were_given(aws: Any) -> None:
    ec2 = aws("ec2")
    code, message = refused(ec2.describe_key_pairs, KeyNames=["nope"])
    assert code == "InvalidKeyPair.NotFound"
    assert "keypair 'nope' does" in message
    code, message = refused(ec2.describe_security_groups, GroupIds=["sg-0123456789abcdef0"])
    assert code == "InvalidGroup.NotFound"
    assert "group 'sg-0123456789abcdef0' does" in message
    asked = {"ImageId": "ami-0123", "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert refused(ec2.run_instances, **asked)[0] == "InvalidAMIID.Malformed"
    assert base_image(aws)


def test_quotas_are_listed_with_what_a_new_account_has(aws: Any) -> None:
    quotas = aws("service-quotas")
    listed = quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]
    spot = next(one for one in listed if one["QuotaCode"] == "L-3819A6DF")
    assert spot == quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")["Quota"]
    default = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-3819A6DF")
    assert (spot["Value"], default["Quota"]["Value"]) == (96.0, 0.0)
    assert aws("ec2").get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"


def test_a_zone_of_another_region_is_told_as_such(aws: Any) -> None:
    ec2 = aws("ec2")
    asked = {"ImageId": base_image(aws), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    for zone in ("us-east-1a", "ap-northeast-2z"):
        placed = asked | {"Placement": {"AvailabilityZone": zone}}
        assert refused(ec2.run_instances, **placed) == (
            "InvalidParameterValue", f"Invalid availability zone: [{zone}]",
        )  # fmt: skip
        volume = {"AvailabilityZone": zone, "Size": 1}
        assert refused(ec2.create_volume, **volume)[0] == "InvalidZone.NotFound"
    zone = ec2.describe_availability_zones()["AvailabilityZones"][1]
    made = launch(aws, Placement={"AvailabilityZoneId": zone["ZoneId"]})
    assert machine(aws, made)["Placement"]["AvailabilityZone"] == zone["ZoneName"]


def test_what_is_encrypted_shows_the_key_also_where_none_was_named(aws: Any) -> None:
    ec2, kms = aws("ec2"), aws("kms")
    own = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert own["KeyManager"] == "AWS"
    mine = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/mine", TargetKeyId=mine["KeyId"])
    zone = {"AvailabilityZone": "ap-northeast-2a", "Size": 1}
    assert "KmsKeyId" not in ec2.create_volume(**zone)
    volume = ec2.create_volume(**zone, Encrypted=True)
    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, own["Arn"])
    for name in (mine["KeyId"], mine["Arn"], "alias/mine"):
        volume = ec2.create_volume(**zone, Encrypted=True, KmsKeyId=name)
        assert volume["KmsKeyId"] == mine["Arn"]
    snapshot = ec2.create_snapshot(VolumeId=volume["VolumeId"])
    assert snapshot["KmsKeyId"] == mine["Arn"]
    restored = ec2.create_volume(SnapshotId=snapshot["SnapshotId"], **zone)
    assert (restored["Encrypted"], restored["KmsKeyId"]) == (True, mine["Arn"])
    west = aws("ec2", region="us-west-2")
    copied = west.copy_snapshot(
        SourceSnapshotId=snapshot["SnapshotId"], SourceRegion="ap-northeast-2"
    )["SnapshotId"]
    (shown,) = west.describe_snapshots(SnapshotIds=[copied])["Snapshots"]
    theirs = aws("kms", region="us-west-2").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, theirs["Arn"])
    unknown = zone | {"Encrypted": True, "KmsKeyId": "alias/none"}
    code, message = refused(ec2.create_volume, **unknown)
    assert code == "InvalidParameterValue"
    assert "alias/none" in message
    disk = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True, "KmsKeyId": "alias/none"}}
    asked = {"ImageId": base_image(aws), "MinCount": 1, "MaxCount": 1}
    code, _ = refused(ec2.run_instances, **asked, BlockDeviceMappings=[disk])
    assert code == "InvalidParameterValue"
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []

    root = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}
    made = wait_until(aws, launch(aws, BlockDeviceMappings=[root]), "running")
    (shown,) = ec2.describe_volumes(VolumeIds=[made["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]])[
        "Volumes"
    ]
    assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, own["Arn"])


def test_a_machine_that_nobody_runs_has_no_console_output_yet(aws: Any) -> None:
    one = launch(aws)
    told = aws("ec2").get_console_output(InstanceId=one)
    assert told["InstanceId"] == one
    assert "Timestamp" in told
    assert "Output" not in told


def test_nothing_comes_of_a_dry_run(aws: Any) -> None:
    ec2 = aws("ec2")
    one = launch(aws)
    would_succeed: list[tuple[Any, dict[str, Any]]] = [
        (ec2.describe_instances, {}), (ec2.describe_images, {"Owners": ["self"]}),
        (ec2.describe_vpcs, {}), (ec2.get_console_output, {"InstanceId": one}),
        (ec2.create_key_pair, {"KeyName": "k"}), (ec2.create_security_group,
        {"GroupName": "g", "Description": "d"}),
    ]  # fmt: skip
    for call, asked in would_succeed:
        assert refused(call, **asked, DryRun=True)[0] == "DryRunOperation"
    missing = {"InstanceIds": ["i-0123456789abcdef0"], "DryRun": True}
    assert refused(ec2.describe_instances, **missing)[0] == "InvalidInstanceID.NotFound"
    code, message = refused(ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)
    assert (code, message) == (
        "NotImplemented", "The local cloud does not model a dry run of ec2:CreateVpc.",
    )  # fmt: skip
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_what_would_miss_our_machines_is_refused(aws: Any) -> None:
    tagged = {"ResourceType": "instance", "Tags": [{"Key": "n", "Value": "1"}]}
    launch(aws, TagSpecifications=[tagged])
    found = aws("resourcegroupstaggingapi").get_resources
    assert refused(found, TagFilters=[{"Key": "n"}])[0] == "NotImplemented"
    grown = aws("autoscaling").create_auto_scaling_group
    group = {"AutoScalingGroupName": "g", "MinSize": 1, "MaxSize": 1}
    assert refused(grown, **group)[0] == "NotImplemented"
