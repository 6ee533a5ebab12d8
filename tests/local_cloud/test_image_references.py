"""DescribeImageReferences and launch template versions: scopes, filters and pages as in EC2."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud.samples import base_image, error_code, launch, wait_until


def references(aws: Any, **params: Any) -> list[tuple[str, str]]:
    found = aws("ec2").describe_image_references(ImageIds=[base_image(aws)], **params)
    return [
        (one["ResourceType"], one["Arn"].rpartition(":")[2]) for one in found["ImageReferences"]
    ]


def versions_back(depth: int) -> list[dict[str, Any]]:
    option = {"OptionName": "version-depth", "OptionValues": [str(depth)]}
    return [{"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": [option]}]


def test_every_kind_of_reference_is_told_once(aws: Any) -> None:
    ec2, image = aws("ec2"), base_image(aws)
    machine = launch(aws)
    wait_until(aws, machine, "running")
    template = ec2.create_launch_template(
        LaunchTemplateName="one", LaunchTemplateData={"ImageId": image}
    )["LaunchTemplate"]["LaunchTemplateId"]
    ec2.create_launch_template_version(
        LaunchTemplateId=template, LaunchTemplateData={"ImageId": image}
    )
    aws("ssm").put_parameter(Name="/team/ami", Value=image, Type="String")
    aws("ssm").put_parameter(Name="other", Value="ami-1", Type="String")
    assert references(aws, IncludeAllResourceTypes=True) == [
        ("ec2:Instance", f"instance/{machine}"),
        ("ec2:LaunchTemplate", f"launch-template/{template}"),
        ("ssm:Parameter", "parameter/team/ami"),
    ]
    assert references(aws, ResourceTypes=[{"ResourceType": "imagebuilder:ImageRecipe"}]) == []
    state = {"OptionName": "state-name", "OptionValues": ["stopped"]}
    stopped = [{"ResourceType": "ec2:Instance", "ResourceTypeOptions": [state]}]
    assert references(aws, ResourceTypes=stopped) == []


def test_ten_versions_of_a_template_are_looked_at_unless_more_are_asked_for(aws: Any) -> None:
    ec2, image = aws("ec2"), base_image(aws)
    ec2.create_launch_template(LaunchTemplateName="one", LaunchTemplateData={"ImageId": image})
    for _ in range(10):
        ec2.create_launch_template_version(
            LaunchTemplateName="one", LaunchTemplateData={"InstanceType": "g5.xlarge"}
        )
    assert references(aws, IncludeAllResourceTypes=True) == []
    assert len(references(aws, ResourceTypes=versions_back(11))) == 1
    with pytest.raises(ClientError) as caught:
        references(aws, ResourceTypes=versions_back(0))
    assert error_code(caught.value) == "InvalidParameterValue"
    with pytest.raises(ClientError) as caught:
        references(aws)
    assert error_code(caught.value) == "MissingParameter"


def test_versions_of_a_template_are_filtered_and_paged(aws: Any) -> None:
    ec2, image = aws("ec2"), base_image(aws)
    ec2.create_launch_template(LaunchTemplateName="one", LaunchTemplateData={"ImageId": image})
    for _ in range(20):
        ec2.create_launch_template_version(
            LaunchTemplateName="one", LaunchTemplateData={"InstanceType": "g5.xlarge"}
        )
    pages = ec2.get_paginator("describe_launch_template_versions").paginate(
        LaunchTemplateName="one", PaginationConfig={"PageSize": 8}
    )
    numbers = [[v["VersionNumber"] for v in page["LaunchTemplateVersions"]] for page in pages]
    assert [len(page) for page in numbers] == [8, 8, 5]
    assert [number for page in numbers for number in page] == list(range(21, 0, -1))
    found = ec2.describe_launch_template_versions(
        LaunchTemplateName="one", Filters=[{"Name": "image-id", "Values": [image]}]
    )["LaunchTemplateVersions"]
    assert [v["VersionNumber"] for v in found] == [1]
