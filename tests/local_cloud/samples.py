"""Things that many tests of the local cloud need: an image to start from, a profile, a machine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.clock import ManualClock
from local_cloud.cloud import Cloud
from local_cloud.latency import profile_of

GPU_PARAMETER = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
             "Action": "sts:AssumeRole"}
        ],
    }
)  # fmt: skip


def base_image(aws: Any) -> str:
    name = f"{GPU_PARAMETER}/image_id"
    return str(aws("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def profile(aws: Any, name: str = "machine") -> str:
    iam = aws("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def launch(aws: Any, **params: Any) -> str:
    """One machine; its ID."""
    asked = {"ImageId": base_image(aws), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    made = aws("ec2").run_instances(**(asked | params))["Instances"]
    return str(made[0]["InstanceId"])


def machine(aws: Any, instance_id: str) -> dict[str, Any]:
    found = aws("ec2").describe_instances(InstanceIds=[instance_id])
    one: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return one


def wait_until(aws: Any, instance_id: str, state: str) -> dict[str, Any]:
    """Look until the machine is in the state; its description then. pytest's limit ends it."""
    while True:
        shown = machine(aws, instance_id)
        if shown["State"]["Name"] == state:
            return shown
        assert shown["State"]["Name"] != "terminated", shown["StateReason"]
        time.sleep(0.05)


def stop_clock(cloud: Cloud, **figures: Any) -> ManualClock:
    """Let a cloud's clock stand still until the test moves it; things take these times by it."""
    cloud.latency.clock = clock = ManualClock()
    cloud.latency.use(profile_of(figures))
    return clock


def error_code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def refused(call: Any, **params: Any) -> tuple[str, str]:
    """The code and the message that the call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    return error_code(caught.value), caught.value.response["Error"]["Message"]
