"""The front door: who is called, what is refused, how errors look, and what is logged."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from tests.local_cloud.samples import error_code


def post(cloud: Cloud, body: str, headers: dict[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(f"{cloud.endpoint}/", data=body.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_each_protocol_is_answered_in_its_own_form(aws: Any) -> None:
    caller = aws("sts").get_caller_identity()
    assert (caller["Account"], caller["Arn"]) == (
        "123456789012", "arn:aws:iam::123456789012:user/local",
    )  # fmt: skip
    assert len(aws("ec2").describe_subnets()["Subnets"]) == 4
    assert aws("ecs").list_clusters()["clusterArns"] == []
    aws("s3").create_bucket(
        Bucket="some-bucket", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )
    assert [b["Name"] for b in aws("s3").list_buckets()["Buckets"]] == ["some-bucket"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "ec2.us-west-2.amazonaws.com"},
        {"X-Form": "version only"},
        {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-west-2/ec2/aws4_request, x"},
    ],
)
def test_a_request_is_known_by_host_version_or_signature(
    cloud: Cloud, headers: dict[str, str]
) -> None:
    status, body = post(cloud, "Action=DescribeVpcs&Version=2016-11-15", headers)
    assert status == 200
    assert "<DescribeVpcsResponse" in body
    region = "us-west-2" if "X-Form" not in headers else "ap-northeast-2"
    assert cloud.calls.read()[-1]["region"] == region


def test_a_json_service_is_known_by_its_target(cloud: Cloud) -> None:
    headers = {
        "X-Amz-Target": "AmazonSSM.DescribeInstanceInformation",
        "Content-Type": "application/x-amz-json-1.1",
    }
    status, body = post(cloud, "{}", headers)
    assert (status, json.loads(body)) == (200, {"InstanceInformationList": []})


def test_a_parameter_that_ec2_does_not_have_is_refused(cloud: Cloud) -> None:
    status, body = post(cloud, "Action=DescribeVpcs&Version=2016-11-15&Colour.1=red", {})
    assert status == 400
    assert "<Code>UnknownParameter</Code>" in body
    assert "Colour.1" in body


def test_a_parameter_that_ssm_does_not_have_is_refused(cloud: Cloud) -> None:
    headers = {
        "X-Amz-Target": "AmazonSSM.GetParameter",
        "Content-Type": "application/x-amz-json-1.1",
    }
    status, body = post(cloud, json.dumps({"Name": "a", "Colour": "red"}), headers)
    assert status == 400
    assert json.loads(body)["__type"] == "ValidationException"
    assert "Colour" in body


@pytest.mark.parametrize(
    ("service", "method", "params", "code"),
    [
        ("ec2", "run_instances", {"ImageId": "ami-1"}, "MissingParameter"),
        ("ec2", "run_instances", {"ImageId": "ami-1", "MinCount": "x", "MaxCount": 1},
         "InvalidParameterValue"),
        ("ssm", "send_command", {"InstanceIds": ["i-1"]}, "ValidationException"),
        ("iam", "get_role", {}, "ValidationError"),
        ("ec2", "run_instances",
         {"MinCount": 1, "MaxCount": 1, "InstanceInitiatedShutdownBehavior": "explode"},
         "InvalidParameterValue"),
        ("ssm", "put_parameter", {"Name": "a", "Value": "b", "Type": "Colour"},
         "ValidationException"),
        ("s3", "create_bucket", {"Bucket": "Not_a_bucket"}, "InvalidBucketName"),
        ("s3", "create_bucket", {"Bucket": "192.168.0.1"}, "InvalidBucketName"),
        ("logs", "put_retention_policy", {"logGroupName": "g", "retentionInDays": 8},
         "InvalidParameterException"),
        ("sts", "assume_role",
         {"RoleArn": "arn:aws:iam::123456789012:role/none", "RoleSessionName": "me"},
         "AccessDenied"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named_in_each_services_way(
    aws: Any, service: str, method: str, params: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(aws(service), method)(**params)
    assert error_code(caught.value) == code
    assert caught.value.response["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("service", "method", "params"),
    [
        ("ec2", "import_image", {}),
        ("ec2", "request_spot_fleet", {"SpotFleetRequestConfig": {
            "IamFleetRole": "r", "TargetCapacity": 1}}),
        ("ec2", "attach_verified_access_trust_provider", {
            "VerifiedAccessInstanceId": "a", "VerifiedAccessTrustProviderId": "b"}),
        ("ec2", "enable_ebs_encryption_by_default", {}),
        ("ec2", "get_password_data", {"InstanceId": "i-1"}),
        ("ec2", "allocate_hosts", {"AvailabilityZone": "a", "InstanceType": "g5.xlarge"}),
        ("ssm", "start_session", {"Target": "i-1"}),
        ("ssm", "describe_document", {"Name": "AWS-RunShellScript"}),
        ("s3", "select_object_content", {
            "Bucket": "any", "Key": "k", "Expression": "select 1", "ExpressionType": "SQL",
            "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}),
        ("ecs", "run_task", {"taskDefinition": "x"}),
        ("workdocs", "describe_users", {}),
    ],
)  # fmt: skip
def test_what_is_not_modelled_says_so(
    aws: Any, service: str, method: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(aws(service), method)(**params)
    assert error_code(caught.value) == "NotImplemented"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "does not model" in caught.value.response["Error"]["Message"]


def test_an_unsigned_call_without_a_service_is_told_what_this_is(cloud: Cloud) -> None:
    status, body = post(cloud, "hello", {})
    assert status == 403
    assert "AWS_ENDPOINT_URL" in body


def test_every_call_is_logged_with_its_outcome(cloud: Cloud, aws: Any) -> None:
    aws("ec2").create_key_pair(KeyName="mine")
    with pytest.raises(ClientError):
        aws("iam").get_role(RoleName="nobody")
    aws("ec2").describe_key_pairs()
    logged = [(c["service"], c["action"], c["code"], c["mutating"]) for c in cloud.calls.read()]
    assert logged == [
        ("ec2", "CreateKeyPair", None, True),
        ("iam", "GetRole", "NoSuchEntity", False),
        ("ec2", "DescribeKeyPairs", None, False),
    ]


def test_our_own_questions_are_no_aws_calls(cloud: Cloud) -> None:
    with urllib.request.urlopen(f"{cloud.endpoint}/_local_cloud/inventory") as answer:
        found = json.load(answer)
    assert all(items == [] for items in found.values())
    assert {"machine", "volume", "image", "snapshot", "template", "environment"} <= set(found)
    assert cloud.calls.read() == []


def test_s3_bodies_come_back_as_they_went(aws: Any) -> None:
    s3 = aws("s3")
    s3.create_bucket(
        Bucket="bytes", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )
    content = bytes(range(256)) * 5000
    s3.put_object(Bucket="bytes", Key="a b/ü+c", Body=content, ChecksumAlgorithm="SHA256")
    got = s3.get_object(Bucket="bytes", Key="a b/ü+c", Range="bytes=10-19")
    assert got["Body"].read() == content[10:20]
    assert s3.head_object(Bucket="bytes", Key="a b/ü+c")["ContentLength"] == len(content)
