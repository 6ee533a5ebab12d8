"""Capacity by type, zone and market, quotas, and the budget for cold volumes, as EC2 shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.faults import Faults, parse_faults
from local_cloud.inventory import take_inventory
from tests.local_cloud.samples import base_image, error_code, launch, stop_clock, wait_until

SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}


def order(cloud: Cloud, *entries: dict[str, Any]) -> None:
    cloud.faults = Faults(parse_faults(json.dumps(entries)))


def refusal(aws: Any, **params: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        launch(aws, **params)
    return caught.value


def status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def counts(cloud: Cloud) -> dict[str, int]:
    return {kind: len(items) for kind, items in take_inventory(cloud).items() if items}


def subnets(aws: Any) -> list[tuple[str, str]]:
    """Zones and the subnet in each."""
    found = aws("ec2").describe_subnets()["Subnets"]
    return sorted((one["AvailabilityZone"], one["SubnetId"]) for one in found)


def test_no_capacity_for_a_type_in_a_zone_names_the_zones_that_have_some(
    cloud: Cloud, aws: Any
) -> None:
    (zone, subnet), (other_zone, other_subnet), *_ = subnets(aws)
    order(cloud, {"fault": "capacity", "when": {"instance_type": "g5.xlarge", "zone": zone}})
    error = refusal(aws, SubnetId=subnet, InstanceType="g5.xlarge")
    assert error_code(error) == "InsufficientInstanceCapacity"
    assert status(error) == 500
    said = error.response["Error"]["Message"]
    assert f"sufficient g5.xlarge capacity in the Availability Zone you requested ({zone})" in said
    assert f"choosing {other_zone}, " in said
    assert counts(cloud) == {}

    launch(aws, SubnetId=other_subnet, InstanceType="g5.xlarge")
    launch(aws, SubnetId=subnet, InstanceType="g5.2xlarge")


def test_no_spot_capacity_leaves_on_demand_and_a_dry_run_alone(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "capacity", "when": {"spot": True}})
    error = refusal(aws, **SPOT)
    assert error_code(error) == "InsufficientInstanceCapacity"
    assert "There is no Spot capacity available that matches" in str(error)
    assert error_code(refusal(aws, DryRun=True, **SPOT)) == "DryRunOperation"
    launch(aws)
    assert counts(cloud) == {"machine": 1, "volume": 1}


def test_capacity_is_used_up_by_machines_and_given_back_by_their_end(
    cloud: Cloud, aws: Any
) -> None:
    order(cloud, {"fault": "capacity", "machines": 2, "when": {"instance_type": "t3.*"}})
    first = launch(aws)
    made = aws("ec2").run_instances(
        ImageId=base_image(aws), InstanceType="t3.small", MinCount=1, MaxCount=5
    )
    assert len(made["Instances"]) == 1, "as many as there is room for, from MinCount on"
    assert error_code(refusal(aws)) == "InsufficientInstanceCapacity"
    aws("ec2").terminate_instances(InstanceIds=[first])
    wait_until(aws, first, "terminated")
    launch(aws)


def test_a_stopped_machine_needs_capacity_to_start(cloud: Cloud, aws: Any) -> None:
    stopped = launch(aws)
    aws("ec2").stop_instances(InstanceIds=[stopped])
    wait_until(aws, stopped, "stopped")
    order(cloud, {"fault": "capacity", "times": 1})
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        aws("ec2").start_instances(InstanceIds=[stopped])
    assert wait_until(aws, stopped, "stopped")
    aws("ec2").start_instances(InstanceIds=[stopped])
    wait_until(aws, stopped, "running")


def test_capacity_comes_back_after_some_refusals(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "capacity", "times": 2, "after": 1})
    launch(aws)
    assert error_code(refusal(aws)) == "InsufficientInstanceCapacity"
    assert error_code(refusal(aws)) == "InsufficientInstanceCapacity"
    launch(aws)


def test_a_refused_launch_does_not_use_up_its_client_token(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "capacity", "times": 1})
    assert error_code(refusal(aws, ClientToken="t")) == "InsufficientInstanceCapacity"
    made = launch(aws, ClientToken="t")
    order(cloud, {"fault": "capacity"})
    assert launch(aws, ClientToken="t") == made, "the token is looked up first"


@pytest.mark.parametrize(
    ("market", "code", "said"),
    [
        ({}, "VcpuLimitExceeded", "your current vCPU limit of 4 allows for the instance bucket"),
        (SPOT, "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    ],
)
def test_quotas_count_vcpus_of_one_market_and_family(
    cloud: Cloud, aws: Any, market: Any, code: str, said: str
) -> None:
    order(cloud, {"fault": "quota", "vcpus": 4, "when": {"instance_type": ["g*", "vt*"]}})
    launch(aws, InstanceType="g5.xlarge", **market)
    error = refusal(aws, InstanceType="g5.xlarge", **market)
    assert (error_code(error), status(error)) == (code, 400)
    assert said in str(error)
    launch(aws, InstanceType="c5.4xlarge", **market)
    launch(aws, InstanceType="g5.xlarge", **({} if market else SPOT))


def fleet(aws: Any, *types: str, spot: bool) -> Any:
    data = {"ImageId": base_image(aws)}
    aws("ec2").create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData=data)
    return aws("ec2").create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "fleet", "Version": "1"},
                "Overrides": [{"InstanceType": one} for one in types],
            }
        ],
        TargetCapacitySpecification={
            "TotalTargetCapacity": 1,
            "DefaultTargetCapacityType": "spot" if spot else "on-demand",
        },
    )


def test_a_fleet_lists_what_each_choice_was_refused_for(cloud: Cloud, aws: Any) -> None:
    order(
        cloud,
        {"fault": "capacity", "when": {"instance_type": "g5.xlarge"}},
        {"fault": "quota", "vcpus": 4, "when": {"instance_type": "g5.*"}},
    )
    answer = fleet(aws, "g5.xlarge", "g5.2xlarge", spot=True)
    assert answer["Instances"] == []
    assert [one["ErrorCode"] for one in answer["Errors"]] == [
        "UnfulfillableCapacity",
        "MaxSpotInstanceCountExceeded",
    ]
    assert all(one["Lifecycle"] == "spot" for one in answer["Errors"])
    assert counts(cloud) == {"template": 1}


def test_a_fleet_goes_on_to_the_next_choice(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "capacity", "when": {"instance_type": "g5.xlarge"}})
    answer = fleet(aws, "g5.xlarge", "g5.2xlarge", spot=False)
    assert [one["InstanceType"] for one in answer["Instances"]] == ["g5.2xlarge"]


def rated(rate: int) -> list[dict[str, Any]]:
    return [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeInitializationRate": rate}}]


def test_the_regions_budget_for_cold_volumes_is_5000_mib_s(cloud: Cloud, aws: Any) -> None:
    stop_clock(cloud)  # none of them is initialized as long as it stands
    ec2 = aws("ec2")
    machines = ec2.run_instances(
        ImageId=base_image(aws), InstanceType="t3.micro", MinCount=16, MaxCount=16,
        BlockDeviceMappings=rated(300),
    )["Instances"]  # fmt: skip
    error = refusal(aws, BlockDeviceMappings=rated(300))
    assert error_code(error) == "ResourceLimitExceeded"
    assert "(300 MiB/s) with what is being initialized in ap-northeast-2 (4800 MiB/s)" in str(error)
    image = ec2.describe_images(ImageIds=[base_image(aws)])["Images"][0]
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    asked = {"AvailabilityZone": "ap-northeast-2a", "SnapshotId": snapshot}
    with pytest.raises(ClientError, match="exceeds the limit of 5000 MiB/s"):
        ec2.create_volume(VolumeInitializationRate=201, **asked)
    ec2.create_volume(VolumeInitializationRate=200, **asked)
    ec2.create_volume(**asked)
    launch(aws)
    ec2.terminate_instances(InstanceIds=[machines[0]["InstanceId"]])
    wait_until(aws, machines[0]["InstanceId"], "terminated")
    launch(aws, BlockDeviceMappings=rated(300))


def test_a_smaller_budget_with_a_code_of_ones_own(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "initialization-budget", "mib_s": 250, "code": "VolumeLimitExceeded"})
    assert error_code(refusal(aws, BlockDeviceMappings=rated(300))) == "VolumeLimitExceeded"
    launch(aws, BlockDeviceMappings=rated(200))
