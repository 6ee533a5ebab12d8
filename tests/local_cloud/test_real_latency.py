"""A latency profile on machines that run: slow links, cold volumes, an agent that is late."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from local_cloud.cloud import Cloud
from local_cloud.latency import profile_of
from tests.local_cloud.conftest import REGION, client_of
from tests.local_cloud.samples import launch, machine, profile, wait_until
from tests.local_cloud.test_commands import end_of, send
from tests.waiting import until

pytestmark = pytest.mark.machines

SIZE = 8_000_000


def test_a_machine_under_a_slow_profile(real_cloud: Cloud) -> None:
    def aws(service: str) -> Any:
        return client_of(real_cloud.endpoint, service)

    real_cloud.latency.use(
        profile_of(
            {
                "instance_pending": 0.5, "agent_offline": 1,
                "link": {"machine_mb_per_s": 10, "round_trip_ms": 1},
                "cold_volumes": {"first_read_mb_per_s": 100},
            }
        )
    )  # fmt: skip
    made = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, made, "running")
    until(lambda: aws("ssm").describe_instance_information()["InstanceInformationList"])
    volume = machine(aws, made)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]

    def initialization() -> Any:
        (found,) = aws("ec2").describe_volume_status(VolumeIds=[volume])["VolumeStatuses"]
        return found["InitializationStatusDetails"]

    assert initialization()["InitializationType"] == "default"
    assert 0 < initialization()["Progress"] < 100  # a boot reads some of its disk, not all

    bucket = {"LocationConstraint": REGION}
    aws("s3").create_bucket(Bucket="slow", CreateBucketConfiguration=bucket)
    aws("s3").put_object(Bucket="slow", Key="data", Body=bytes(SIZE))
    signer = boto3.client(
        "s3", region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )
    url = signer.generate_presigned_url("get_object", {"Bucket": "slow", "Key": "data"})
    link = real_cloud.machines.link  # type: ignore[attr-defined]
    address = machine(aws, made)["PrivateIpAddress"]
    before = link.moved(address)[0]
    command = send(aws, made, f"curl -sSf -w '%{{time_total}}' -o /tmp/data '{url}'")
    said = end_of(aws, command, made)
    assert said["Status"] == "Success", said
    assert link.moved(address)[0] - before >= SIZE
    assert float(said["StandardOutputContent"]) >= 0.9 * SIZE / 10_000_000  # never faster
