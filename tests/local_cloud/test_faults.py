"""Failures on order, seen as a client sees them, and what is wrong with a faults file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from local_cloud.cloud import Cloud
from local_cloud.faults import Fault, Faults, FaultsFileError, read_faults
from tests.local_cloud.conftest import local_cloud
from tests.local_cloud.samples import base_image, error_code, launch


def order(cloud: Cloud, **fault: Any) -> None:
    cloud.faults = Faults([Fault.model_validate(fault)])


def groups(aws: Any) -> list[str]:
    found = aws("ec2").describe_security_groups()["SecurityGroups"]
    return [one["GroupName"] for one in found if one["GroupName"] != "default"]


@pytest.mark.parametrize(
    ("service", "method", "params", "code", "status"),
    [
        ("ec2", "describe_vpcs", {}, "RequestLimitExceeded", 503),
        ("ssm", "list_commands", {}, "ThrottlingException", 400),
        ("s3", "list_buckets", {}, "SlowDown", 503),
        ("ecr", "describe_repositories", {}, "ThrottlingException", 400),
    ],
)
def test_throttling_looks_as_each_service_does_it(
    cloud: Cloud, aws: Any, service: str, method: str, params: Any, code: str, status: int
) -> None:
    order(cloud, service=service, fault="throttle", times=1)
    with pytest.raises(ClientError) as caught:
        getattr(aws(service), method)(**params)
    assert error_code(caught.value) == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    getattr(aws(service), method)(**params)


def test_an_error_on_order_has_no_effect_and_botos_retries_get_over_it(
    cloud: Cloud, aws: Any
) -> None:
    order(cloud, service="ec2", action="CreateSecurityGroup", fault="error", times=2)
    patient = aws("ec2", retries={"mode": "standard", "total_max_attempts": 4})
    patient.create_security_group(GroupName="g", Description="g")
    assert groups(aws) == ["g"]
    codes = [c["code"] for c in cloud.calls.read() if c["action"] == "CreateSecurityGroup"]
    assert codes == ["InternalError", "InternalError", None]


@pytest.mark.parametrize(("kind", "made"), [("drop-before", []), ("drop-after", ["g"])])
def test_a_connection_is_dropped_before_or_after_the_effect(
    cloud: Cloud, aws: Any, kind: str, made: list[str]
) -> None:
    order(cloud, service="ec2", action="CreateSecurityGroup", fault=kind, times=1)
    with pytest.raises(ConnectionClosedError):
        aws("ec2").create_security_group(GroupName="g", Description="g")
    assert groups(aws) == made
    assert cloud.calls.read()[0]["fault"] == kind


def test_a_timeout_hangs_and_then_drops(cloud: Cloud, aws: Any) -> None:
    order(cloud, action="DescribeVpcs", fault="timeout", seconds=0.2)
    with pytest.raises(ConnectionClosedError):
        aws("ec2").describe_vpcs()
    assert cloud.calls.read()[0]["duration_ms"] >= 200


def test_a_fault_can_choose_by_parameter_with_a_code_of_its_own(cloud: Cloud, aws: Any) -> None:
    order(
        cloud, service="ec2", action="RunInstances", fault="error", status=500,
        code="InsufficientInstanceCapacity", when={"InstanceType": "g5.xlarge"},
    )  # fmt: skip
    launch(aws, InstanceType="t3.micro")
    with pytest.raises(ClientError) as caught:
        aws("ec2").run_instances(
            ImageId=base_image(aws), InstanceType="g5.xlarge", MinCount=1, MaxCount=1
        )
    assert error_code(caught.value) == "InsufficientInstanceCapacity"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "not JSON"),
        ('[{"fault": ["throttle"]}]', 'fault: ["throttle"] is not one of'),
        ("{}", "a JSON list"),
        ('[{"fault": "throttle"}, {"fault": "explode"}]', "entry 2"),
        ('[{"fault": "error", "times": 0}]', "times"),
        ('[{"fault": "error", "colour": 1}]', "colour"),
    ],
)
def test_a_bad_faults_file_is_named_with_its_entry(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(content)
    with pytest.raises(FaultsFileError) as caught:
        read_faults(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_serve_reads_the_file_and_refuses_a_bad_one(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"action": "GetCallerIdentity", "fault": "error", "times": 1}]))
    aws = ["aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text"]
    ran = local_cloud("run", "--recorded", "--faults", str(path), "--", *aws)
    assert ran.stdout.strip() == "123456789012", ran.stderr
    path.write_text("[1]")
    refused = local_cloud("run", "--recorded", "--faults", str(path), "--", "true")
    assert refused.returncode == 1
    assert "entry 1" in refused.stderr
    assert "Traceback" not in refused.stderr
