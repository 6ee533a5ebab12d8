"""Launch templates as tools that keep versions of them see them."""

from __future__ import annotations

from typing import Any

from tests.local_cloud.samples import base_image, machine, refused

IMAGE = "ami-0123456789abcdef0"


def template(aws: Any, **data: Any) -> str:
    made = aws("ec2").create_launch_template(LaunchTemplateName="workers", LaunchTemplateData=data)
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def data_of(aws: Any, template_id: str, version: str) -> dict[str, Any]:
    found = aws("ec2").describe_launch_template_versions(
        LaunchTemplateId=template_id, Versions=[version]
    )
    data: dict[str, Any] = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


def test_a_version_takes_what_it_does_not_name_from_its_source(aws: Any) -> None:
    ec2 = aws("ec2")
    ebs = {"VolumeSize": 40, "VolumeType": "gp3"}
    of_snapshot = ebs | {"SnapshotId": "snap-0123456789abcdef0"}
    one = template(
        aws, ImageId=IMAGE, InstanceType="t3.micro", UserData="IyEvYmluL3No",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": of_snapshot}],
    )  # fmt: skip
    new = {"LaunchTemplateId": one, "LaunchTemplateData": {"InstanceType": "t3.large"}}
    made = ec2.create_launch_template_version(**new, SourceVersion="1")["LaunchTemplateVersion"]
    assert (made["VersionNumber"], made["DefaultVersion"]) == (2, False)
    expected = {
        "ImageId": IMAGE, "InstanceType": "t3.large", "UserData": "IyEvYmluL3No",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": ebs}],
    }  # fmt: skip
    assert made["LaunchTemplateData"] == expected == data_of(aws, one, "2")
    ec2.create_launch_template_version(**new)
    assert data_of(aws, one, "$Latest") == {"InstanceType": "t3.large"}
    other = {"LaunchTemplateName": "workers", "LaunchTemplateData": {"UserData": "ZXhpdAo="}}
    for source, kind in (("$Latest", "t3.large"), ("$Default", "t3.micro")):
        ec2.create_launch_template_version(**other, SourceVersion=source)
        found = data_of(aws, one, "$Latest")
        assert (found["UserData"], found["InstanceType"]) == ("ZXhpdAo=", kind)
    code, _ = refused(ec2.create_launch_template_version, **new, SourceVersion="9")
    assert code == "InvalidLaunchTemplateId.VersionNotFound"


def test_versions_are_deleted_but_the_default_one_and_their_numbers_do_not_come_back(
    aws: Any,
) -> None:
    ec2 = aws("ec2")
    image = base_image(aws)
    one = template(aws, ImageId=image, InstanceType="t3.micro")
    for kind in ("t3.small", "t3.medium"):
        ec2.create_launch_template_version(
            LaunchTemplateId=one, SourceVersion="1", LaunchTemplateData={"InstanceType": kind}
        )
    assert refused(
        ec2.delete_launch_template_versions, LaunchTemplateId=one, Versions=["3"], DryRun=True
    )[0] == "DryRunOperation"  # fmt: skip
    told = ec2.delete_launch_template_versions(LaunchTemplateId=one, Versions=["1", "3", "7"])
    assert told["SuccessfullyDeletedLaunchTemplateVersions"] == [
        {"LaunchTemplateId": one, "LaunchTemplateName": "workers", "VersionNumber": 3}
    ]
    kept = {
        item["VersionNumber"]: item["ResponseError"]["Code"]
        for item in told["UnsuccessfullyDeletedLaunchTemplateVersions"]
    }
    assert kept == {1: "unexpectedError", 7: "launchTemplateVersionDoesNotExist"}

    (shown,) = ec2.describe_launch_templates(LaunchTemplateIds=[one])["LaunchTemplates"]
    assert (shown["DefaultVersionNumber"], shown["LatestVersionNumber"]) == (1, 2)
    assert data_of(aws, one, "$Latest")["InstanceType"] == "t3.small"
    gone = {"LaunchTemplateId": one, "Versions": ["3"]}
    assert refused(ec2.describe_launch_template_versions, **gone)[0] == (
        "InvalidLaunchTemplateId.VersionNotFound"
    )
    launch: dict[str, Any] = {"MinCount": 1, "MaxCount": 1}
    third = {"LaunchTemplate": {"LaunchTemplateId": one, "Version": "3"}}
    assert refused(ec2.run_instances, **launch, **third)[0] == (
        "InvalidLaunchTemplateId.VersionNotFound"
    )
    latest = {"LaunchTemplate": {"LaunchTemplateId": one, "Version": "$Latest"}}
    (made,) = ec2.run_instances(**launch, **latest)["Instances"]
    assert machine(aws, made["InstanceId"])["InstanceType"] == "t3.small"

    fourth = ec2.create_launch_template_version(
        LaunchTemplateId=one, LaunchTemplateData={"InstanceType": "t3.large"}
    )
    assert fourth["LaunchTemplateVersion"]["VersionNumber"] == 4
    modify = {"LaunchTemplateId": one, "DefaultVersion": "3"}
    assert refused(ec2.modify_launch_template, **modify)[0] == (
        "InvalidLaunchTemplateId.VersionNotFound"
    )
    ec2.modify_launch_template(LaunchTemplateId=one, DefaultVersion="4")
    ec2.delete_launch_template_versions(LaunchTemplateName="workers", Versions=["1"])
    listed = ec2.describe_launch_template_versions(LaunchTemplateId=one)["LaunchTemplateVersions"]
    assert [(v["VersionNumber"], v["DefaultVersion"]) for v in listed] == [(4, True), (2, False)]


def test_templates_are_filtered_and_come_in_pages(aws: Any) -> None:
    ec2 = aws("ec2")
    for number in range(20):
        ec2.create_launch_template(
            LaunchTemplateName=f"t-{number:02}", LaunchTemplateData={"ImageId": IMAGE},
            TagSpecifications=[{"ResourceType": "launch-template",
                                "Tags": [{"Key": "odd", "Value": str(number % 2)}]}],
        )  # fmt: skip
    assert len(ec2.describe_launch_templates()["LaunchTemplates"]) == 20
    only = [{"Name": "tag:odd", "Values": ["1"]}]
    pages = ec2.get_paginator("describe_launch_templates").paginate(
        Filters=only, PaginationConfig={"PageSize": 4}
    )
    names = [[one["LaunchTemplateName"] for one in page["LaunchTemplates"]] for page in pages]
    assert [len(page) for page in names] == [4, 4, 2]
    assert names[0][0] == "t-01"
