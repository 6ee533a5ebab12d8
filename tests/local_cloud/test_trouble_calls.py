"""Faults of calls as plain boto3 sees them: held-back answers, counts, choices, credentials."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from local_cloud.cloud import Cloud
from local_cloud.faults import Faults, FaultsFileError, parse_faults
from tests.local_cloud.samples import error_code, launch, machine
from tests.waiting import until


def order(cloud: Cloud, *entries: dict[str, Any]) -> None:
    cloud.faults = Faults(parse_faults(json.dumps(entries)))


def groups(aws: Any) -> list[str]:
    found = aws("ec2").describe_security_groups()["SecurityGroups"]
    return [one["GroupName"] for one in found if one["GroupName"] != "default"]


def control(cloud: Cloud, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{cloud.endpoint}/_local_cloud/{path}", method=method,
        data=None if body is None else json.dumps(body).encode(),
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_late_answer_comes_after_the_client_has_gone_and_the_effect_is_there(
    cloud: Cloud, aws: Any
) -> None:
    order(cloud, {"action": "CreateSecurityGroup", "fault": "late", "seconds": 30, "times": 1})
    hasty = aws("ec2", read_timeout=1)
    with pytest.raises(ReadTimeoutError):
        hasty.create_security_group(GroupName="g", Description="g")
    until(lambda: groups(aws))
    assert groups(aws) == ["g"]


def test_a_late_answer_is_an_answer_for_those_who_wait(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"action": "DescribeVpcs", "fault": "late", "seconds": 0.3})
    assert len(aws("ec2").describe_vpcs()["Vpcs"]) == 1
    assert cloud.calls.read()[0]["duration_ms"] >= 300
    assert cloud.calls.read()[0]["fault"] == "late"


def test_some_calls_pass_before_and_after_the_fault(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"action": "DescribeVpcs", "fault": "error", "after": 2, "times": 1})
    seen = []
    for _ in range(5):
        try:
            aws("ec2").describe_vpcs()
            seen.append("fine")
        except ClientError as error:
            seen.append(error_code(error))
    assert seen == ["fine", "fine", "InternalError", "fine", "fine"]


def test_faults_choose_launches_by_zone_type_market_and_template(cloud: Cloud, aws: Any) -> None:
    data = {"InstanceType": "g5.xlarge", "InstanceMarketOptions": {"MarketType": "spot"}}
    template = aws("ec2").create_launch_template(LaunchTemplateName="gpu", LaunchTemplateData=data)
    named = {"LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"]}
    subnets = aws("ec2").describe_subnets()["Subnets"]
    zones = {one["AvailabilityZone"]: one["SubnetId"] for one in subnets}
    first, second = sorted(zones)[:2]
    where = {"instance_type": "g5.*", "spot": True, "zone": first, "template": "gpu"}
    order(cloud, {"service": "ec2", "action": "RunInstances", "fault": "throttle", "when": where})

    launch(aws, SubnetId=zones[first])
    launch(aws, SubnetId=zones[first], InstanceType="g5.xlarge")
    by_name = {"LaunchTemplateName": "gpu"}
    for choice in (named, by_name):
        asked = {"InstanceType": "g5.2xlarge", "LaunchTemplate": choice}
        with pytest.raises(ClientError, match="RequestLimitExceeded"):
            launch(aws, SubnetId=zones[first], **asked)
        launch(aws, SubnetId=zones[second], **asked)


def test_faults_choose_by_the_machine_a_call_names_and_by_nested_parameters(
    cloud: Cloud, aws: Any
) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "builder"}]}]
    builder, other = launch(aws, TagSpecifications=tags), launch(aws)
    order(
        cloud,
        {"action": "DescribeInstances", "fault": "error", "when": {"tag:role": "builder"}},
        {"action": "CreateTags", "fault": "error", "code": "TagLimitExceeded", "status": 400,
         "when": {"Tags.Value": "pull*"}},
    )  # fmt: skip
    machine(aws, other)
    with pytest.raises(ClientError, match="InternalError"):
        machine(aws, builder)
    aws("ec2").create_tags(Resources=[other], Tags=[{"Key": "step", "Value": "update"}])
    with pytest.raises(ClientError, match="TagLimitExceeded"):
        aws("ec2").create_tags(Resources=[other], Tags=[{"Key": "step", "Value": "pull-image"}])


@pytest.mark.parametrize(
    ("service", "method", "params", "expired", "skewed"),
    [
        ("ec2", "describe_vpcs", {}, "RequestExpired", "AuthFailure"),
        ("sts", "get_caller_identity", {}, "ExpiredToken", "SignatureDoesNotMatch"),
        ("iam", "list_roles", {}, "ExpiredToken", "SignatureDoesNotMatch"),
        ("s3", "list_buckets", {}, "ExpiredToken", "RequestTimeTooSkewed"),
        ("ssm", "list_commands", {}, "ExpiredTokenException", "InvalidSignatureException"),
        ("ecr", "describe_repositories", {}, "ExpiredTokenException", "InvalidSignatureException"),
        (
            "batch", "describe_job_queues", {},
            "ExpiredTokenException", "InvalidSignatureException",
        ),
    ],
)  # fmt: skip
def test_expired_credentials_and_a_wrong_clock_look_as_each_service_says_it(
    cloud: Cloud, aws: Any, service: str, method: str, params: Any, expired: str, skewed: str
) -> None:
    for fault, code in (("expired-credentials", expired), ("clock-skew", skewed)):
        order(cloud, {"fault": fault, "when": {"access_key": "local"}, "times": 1})
        with pytest.raises(ClientError) as caught:
            getattr(aws(service), method)(**params)
        assert error_code(caught.value) == code
        assert 400 <= caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 404
        getattr(aws(service), method)(**params)


def test_only_the_credentials_named_expire(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "expired-credentials", "when": {"access_key": "ASIA*"}})
    aws("ec2").describe_vpcs()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"fault": "explode"}, '"explode" is not one of throttle, error'),
        ({"fault": "throtle"}, "did you mean throttle?"),
        ({}, "fault: null is not one of"),
        ({"fault": "error", "service": "ec3"}, "service: 'ec3' is no service"),
        (
            {"fault": "error", "service": "ec2", "action": "RunInstance"},
            "action: ec2 has no action 'RunInstance' (did you mean RunInstances?)",
        ),
        (
            {"fault": "error", "service": "ec2", "action": "RunInstances",
             "when": {"Instancetype": "t3.micro"}},
            "when.Instancetype: RunInstances has no such parameter (did you mean InstanceType?)",
        ),
        ({"fault": "error", "notice": 3}, "notice: error has no such field, but"),
        ({"fault": "capacity", "machines": -1}, "machines: Input should be greater"),
        ({"fault": "quota"}, "vcpus: a quota needs it"),
        ({"fault": "quota", "vcpus": 4, "mib_s": 5}, "mib_s: belongs to another kind of limit"),
        ({"fault": "capacity", "when": {"Zone": "a"}}, "when.Zone: no such fact"),
        ({"fault": "unseen", "of": "instance"}, "looks or seconds: one of them is needed"),
        ({"fault": "unseen", "of": "moon", "looks": 1}, "of: Input should be 'instance'"),
        ({"fault": "error", "times": 0}, "times: Input should be greater than or equal to 1"),
        (7, "an object is needed"),
    ],
)  # fmt: skip
def test_a_bad_entry_is_named_with_what_is_wrong_with_it_also_at_run_time(
    cloud: Cloud, entry: Any, said: str
) -> None:
    good = {"fault": "throttle"}
    with pytest.raises(FaultsFileError) as caught:
        parse_faults(json.dumps([good, entry]))
    assert f"entry 2 ({json.dumps(entry)})" in str(caught.value)
    assert said in str(caught.value)
    status, answer = control(cloud, "PUT", "faults", [good, entry])
    assert status == 400
    assert answer["error"] == str(caught.value)
    assert cloud.faults.shown() == []


def test_faults_are_replaced_added_to_and_shown_while_the_cloud_runs(
    cloud: Cloud, aws: Any
) -> None:
    one = {"fault": "error", "service": "ec2", "action": "DescribeVpcs", "times": 1}
    assert control(cloud, "PUT", "faults", [one])[1]["faults"] == 1
    assert control(cloud, "POST", "faults", [{"fault": "quota", "vcpus": 0}])[1]["faults"] == 2
    with pytest.raises(ClientError):
        aws("ec2").describe_vpcs()
    aws("ec2").describe_vpcs()
    shown = control(cloud, "GET", "faults")[1]["entries"]
    assert shown[0] == one | {"met": 1, "used": 1}
    assert shown[1] == {"fault": "quota", "vcpus": 0, "met": 0, "used": 0}
    assert control(cloud, "PUT", "faults", [])[1]["faults"] == 0


def test_a_hang_does_not_hold_up_the_end_of_the_cloud() -> None:
    with Cloud(real=False, say=lambda text: None) as one:
        order(one, {"fault": "timeout", "seconds": 600})
        asking = threading.Thread(
            target=lambda: control_quietly(
                f"{one.endpoint}/?Action=DescribeVpcs&Version=2016-11-15"
            )
        )
        asking.start()
        while not one.faults.shown()[0]["used"]:
            asking.join(0.05)
    asking.join(timeout=300)
    assert not asking.is_alive()


def control_quietly(url: str) -> None:
    try:
        urllib.request.urlopen(url, timeout=300).close()
    except OSError:
        return
