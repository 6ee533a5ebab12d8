"""AWS's managed policies can be attached by their ARNs; no others exist."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud.samples import TRUST, error_code

PREFIX = "arn:aws:iam::aws:policy/"


@pytest.mark.parametrize(
    "name",
    [
        "AmazonSSMManagedInstanceCore",
        "AmazonEC2ContainerRegistryReadOnly",
        "service-role/AmazonEC2ContainerServiceforEC2Role",
        "service-role/AWSBatchServiceRole",
    ],
)
def test_a_managed_policy_is_there_when_it_is_named(aws: Any, name: str) -> None:
    iam, arn = aws("iam"), PREFIX + name
    iam.create_role(RoleName="machine", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="machine", PolicyArn=arn)
    attached = iam.list_attached_role_policies(RoleName="machine")["AttachedPolicies"]
    assert attached == [{"PolicyName": name.rsplit("/", 1)[-1], "PolicyArn": arn}]
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])
    document = version["PolicyVersion"]["Document"]
    allowed = document if isinstance(document, dict) else json.loads(document)
    assert {one["Effect"] for one in allowed["Statement"]} == {"Allow"}
    iam.detach_role_policy(RoleName="machine", PolicyArn=arn)
    iam.delete_role(RoleName="machine")


@pytest.mark.parametrize("name", ["AmazonNoSuchPolicy", "AmazonEC2ContainerServiceforEC2Role"])
def test_a_name_that_aws_does_not_have_or_under_another_path_is_refused(
    aws: Any, name: str
) -> None:
    aws("iam").create_role(RoleName="machine", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(ClientError) as caught:
        aws("iam").attach_role_policy(RoleName="machine", PolicyArn=PREFIX + name)
    assert error_code(caught.value) == "NoSuchEntity"
