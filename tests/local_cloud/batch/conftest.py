"""A cloud with recorded machines, and what a compute environment needs in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.cloud import Cloud
from tests.waiting import until

BASE_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
SUBNET = "subnet-0a10ca10000000001"
GROUP = "sg-0a10ca1000000000f"


@dataclass
class World:
    """Clients of one cloud, and the IDs of what is in it."""

    cloud: Cloud
    batch: Any
    ec2: Any
    iam: Any
    image: str
    profile: str
    template: str

    def client(self, service: str) -> Any:
        session = boto3.Session("local", "local", region_name=self.cloud.region)
        return session.client(service, endpoint_url=self.cloud.endpoint)  # type: ignore[call-overload]

    def resources(self, **changes: Any) -> dict[str, Any]:
        """Compute resources that Batch can update in place, with changes; None takes one out."""
        wanted = {
            "type": "SPOT",
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "maxvCpus": 16,
            "instanceTypes": ["g5.xlarge"],
            "subnets": [SUBNET],
            "securityGroupIds": [GROUP],
            "instanceRole": self.profile,
            "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": self.image}],
            "launchTemplate": {"launchTemplateId": self.template, "version": "1"},
        } | changes
        return {name: value for name, value in wanted.items() if value is not None}

    def create(self, name: str, *, role: str | None = None, **changes: Any) -> dict[str, Any]:
        """A compute environment, once it is VALID or INVALID."""
        self.batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources=self.resources(**changes),
            **({"serviceRole": role} if role else {}),
        )
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.batch.describe_compute_environments(computeEnvironments=[name])
            named: list[dict[str, Any]] = found["computeEnvironments"]
            return next((one for one in named if one["status"] in ("VALID", "INVALID")), None)

        return until(look)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as one:
        yield one


@contextlib.contextmanager
def make_world(
    *, real: bool = False, state: Path | None = None, details: Path | None = None
) -> Iterator[World]:
    """A cloud of its own, with what an environment needs."""
    with Cloud(real=real, state=state, details=details, say=lambda _: None) as cloud:
        session = boto3.Session("local", "local", region_name=cloud.region)
        clients: dict[str, Any] = {
            name: session.client(name, endpoint_url=cloud.endpoint)
            for name in ("batch", "ec2", "iam", "ssm")
        }
        image = clients["ssm"].get_parameter(Name=BASE_IMAGE)["Parameter"]["Value"]
        iam = clients["iam"]
        iam.create_role(RoleName="host", AssumeRolePolicyDocument="{}")
        profile = iam.create_instance_profile(InstanceProfileName="host")["InstanceProfile"]
        iam.add_role_to_instance_profile(InstanceProfileName="host", RoleName="host")
        template = clients["ec2"].create_launch_template(
            LaunchTemplateName="host", LaunchTemplateData={"ImageId": image}
        )["LaunchTemplate"]
        yield World(
            cloud,
            clients["batch"],
            clients["ec2"],
            iam,
            image,
            profile["Arn"],
            template["LaunchTemplateId"],
        )
