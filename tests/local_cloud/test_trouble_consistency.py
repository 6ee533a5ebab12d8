"""New things that are not seen at first, counted by looks, so that no clock decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.faults import Faults, parse_faults
from local_cloud.inventory import take_inventory
from tests.local_cloud.samples import TRUST, error_code, launch, machine, profile

ALLOWED = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]})


def order(cloud: Cloud, *entries: dict[str, Any]) -> None:
    cloud.faults = Faults(parse_faults(json.dumps(entries)))


def looks(look: Callable[[], Any], times: int) -> list[str]:
    """What each of some looks gives: `seen`, or the error's code."""
    found = []
    for _ in range(times):
        try:
            look()
            found.append("seen")
        except ClientError as error:
            found.append(error_code(error))
    return found


def test_a_new_machine_is_not_found_for_the_first_looks(cloud: Cloud, aws: Any) -> None:
    old = launch(aws)
    order(cloud, {"fault": "unseen", "of": "instance", "looks": 2, "times": 1})
    new = launch(aws)
    machine(aws, old)
    assert looks(lambda: machine(aws, new), 4) == [
        "InvalidInstanceID.NotFound",
        "InvalidInstanceID.NotFound",
        "seen",
        "seen",
    ]
    assert [one["id"] for one in take_inventory(cloud)["machine"]] == [old, new]
    machine(aws, launch(aws))


def test_a_list_leaves_out_what_is_not_seen_and_other_calls_do_not_find_it(
    cloud: Cloud, aws: Any
) -> None:
    order(cloud, {"fault": "unseen", "of": "instance", "looks": 4})
    ec2, new = aws("ec2"), launch(aws)
    assert ec2.describe_instances()["Reservations"] == []
    refused: list[Callable[[], Any]] = [
        lambda: ec2.create_tags(Resources=[new], Tags=[{"Key": "a", "Value": "b"}]),
        lambda: ec2.create_image(InstanceId=new, Name="image"),
        lambda: ec2.terminate_instances(InstanceIds=[new]),
    ]
    for call in refused:
        with pytest.raises(ClientError, match="InvalidInstanceID"):
            call()
    assert len(ec2.describe_instances()["Reservations"]) == 1


def test_a_client_token_finds_the_machine_that_is_not_seen_yet(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "unseen", "of": "instance", "looks": 3})
    assert launch(aws, ClientToken="t") == launch(aws, ClientToken="t")
    assert len(take_inventory(cloud)["machine"]) == 1


def test_a_new_image_and_its_snapshot_are_not_found_and_its_name_is_taken(
    cloud: Cloud, aws: Any
) -> None:
    ec2, source = aws("ec2"), launch(aws)
    ec2.get_waiter("instance_running").wait(InstanceIds=[source])
    order(
        cloud,
        {"fault": "unseen", "of": "image", "looks": 3, "times": 1},
        {"fault": "unseen", "of": "snapshot", "looks": 1},
    )
    image = ec2.create_image(InstanceId=source, Name="name", NoReboot=True)["ImageId"]
    assert looks(lambda: ec2.describe_images(ImageIds=[image]), 1) == ["InvalidAMIID.NotFound"]
    assert looks(lambda: launch(aws, ImageId=image), 1) == ["InvalidAMIID.NotFound"]
    assert looks(lambda: ec2.create_image(InstanceId=source, Name="name"), 1) == [
        "InvalidAMIName.Duplicate"
    ]
    named = [{"Name": "name", "Values": ["name"]}]
    assert ec2.describe_images(Filters=named)["Images"] == []
    found = ec2.describe_images(Filters=named)["Images"][0]
    assert found["ImageId"] == image
    snapshot = found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert looks(lambda: ec2.describe_snapshots(SnapshotIds=[snapshot]), 2) == [
        "InvalidSnapshot.NotFound",
        "seen",
    ]


def test_tags_come_late_at_a_launch_and_when_they_change(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "unseen", "of": "tags", "looks": 1, "when": {"tag:step": "*"}})
    ec2 = aws("ec2")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "step", "Value": "1"}]}]
    new = launch(aws, TagSpecifications=tags)

    def step() -> list[str]:
        return [tag["Value"] for tag in machine(aws, new)["Tags"]]

    def by_tag(value: str) -> int:
        asked = [{"Name": "tag:step", "Values": [value]}]
        return len(ec2.describe_instances(Filters=asked)["Reservations"])

    assert [step(), step()] == [[], ["1"]]
    ec2.create_tags(Resources=[new], Tags=[{"Key": "step", "Value": "2"}])
    assert [by_tag("2"), by_tag("2")] == [0, 1]
    ec2.create_tags(Resources=[new], Tags=[{"Key": "step", "Value": "3"}])
    assert [step(), step()] == [["2"], ["3"]]
    ec2.create_tags(Resources=[new], Tags=[{"Key": "other", "Value": "1"}])
    assert step() == ["1", "3"]


def test_ec2_does_not_know_a_new_instance_profile_at_first(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "unseen", "of": "profile", "looks": 2})
    name = profile(aws)
    with pytest.raises(ClientError) as caught:
        launch(aws, IamInstanceProfile={"Name": name})
    assert error_code(caught.value) == "InvalidParameterValue"
    assert "iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name" in str(
        caught.value
    )
    with pytest.raises(ClientError, match="Invalid IAM Instance Profile name"):
        launch(aws, IamInstanceProfile={"Name": name})
    launch(aws, IamInstanceProfile={"Name": name})


def test_a_new_role_is_not_there_for_iams_next_calls(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "unseen", "of": "role", "looks": 2})
    iam = aws("iam")
    made = iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]
    assert looks(lambda: iam.get_role(RoleName="r"), 1) == ["NoSuchEntity"]

    def put() -> None:
        iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=POLICY)

    assert looks(put, 2) == ["NoSuchEntity", "seen"]
    assert iam.get_role(RoleName="r")["Role"]["Arn"] == made["Arn"]
    assert iam.list_role_policies(RoleName="r")["PolicyNames"] == ["p"]


def test_a_new_volume_is_hidden_for_some_seconds_if_that_is_asked(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "unseen", "of": "volume", "seconds": 600})
    ec2 = aws("ec2")
    made = ec2.create_volume(AvailabilityZone="ap-northeast-2a", Size=1)["VolumeId"]

    def look() -> None:
        ec2.describe_volumes(VolumeIds=[made])

    assert looks(look, 3) == ["InvalidVolume.NotFound"] * 3
    order(cloud)
    assert looks(look, 1) == ["seen"], "with the order the hiding ends"
    assert [one["id"] for one in take_inventory(cloud)["volume"]] == [made]
