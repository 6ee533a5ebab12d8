"""The example that puts the whole into a VPC that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from local_cloud.seed import seed
from tests.batch.examples import open_example

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("vpc")]

SETTINGS = {
    "aws:region": "ap-northeast-2",
    "vpcId": "vpc-0a10ca1000000000a",
    "repositoryUrl": "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor",
    "models": "s3://local-ml-models/models/",
}


def test_an_existing_vpc_gets_it_all_and_is_left_as_it_was(tmp_path: Path) -> None:
    with (
        Cloud(real=False, say=lambda _: None) as cloud,
        open_example(cloud, "in_a_vpc", tmp_path) as example,
    ):
        seed(cloud)
        example.set(**SETTINGS)
        outputs = example.up()
        ec2, batch = example.client("ec2"), example.client("batch")
        subnets = {
            one["SubnetId"]
            for one in ec2.describe_subnets(
                Filters=[{"Name": "vpc-id", "Values": [SETTINGS["vpcId"]]}]
            )["Subnets"]
        }
        environments = batch.describe_compute_environments(
            computeEnvironments=outputs["environments"]
        )["computeEnvironments"]
        assert [one["computeResources"]["type"] for one in environments] == ["SPOT", "EC2"]
        for one in environments:
            resources = one["computeResources"]
            assert one["status"] == "VALID"
            assert set(resources["subnets"]) == subnets
            assert resources["ec2Configuration"][0]["imageIdOverride"] == outputs["amiId"]
        (queue,) = batch.describe_job_queues(jobQueues=[outputs["queue"]])["jobQueues"]
        assert [one["computeEnvironment"] for one in queue["computeEnvironmentOrder"]] == (
            outputs["environments"]
        )
        example.do("destroy", "--yes", "--skip-preview")
        left = {kind: items for kind, items in take_inventory(cloud).items() if items}
        assert left == {}
