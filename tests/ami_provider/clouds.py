"""A local cloud in this process for bakes: seeded, with a role for builders and a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from ami_provider.aws import Aws, get_aws
from ami_provider.bake import BakedImage, bake
from ami_provider.contents import ContainerImage, Model
from ami_provider.recipe import ExtraStep, ImageRecipe
from ami_provider.resolve import resolve
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage
from local_cloud.clock import Clock
from local_cloud.cloud import Cloud
from local_cloud.environment import client_environment
from local_cloud.seed import seed

PROFILE = "builder"
SUBNETS = ("subnet-0a10ca10000000001", "subnet-0a10ca10000000002")
GROUP = "sg-0a10ca1000000000f"
ACTIONS = ["ssm:*", "ssmmessages:*", "ec2messages:*", "ecr:*", "s3:Get*", "s3:List*",
           "s3:PutObject"]  # fmt: skip


@dataclass
class Bakery:
    """A cloud, and what a bake in it needs."""

    cloud: Cloud
    aws: Aws
    said: list[str] = field(default_factory=list)
    launches: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def note(params: dict[str, Any], **_: Any) -> None:
            self.launches.append(params)

        events = self.aws.ec2_once.meta.events
        events.register("provide-client-params.ec2.RunInstances", note)

    def resolve(self, **changes: Any) -> ResolvedRecipe:
        """The seed's image and models, resolved; `changes` are fields of the recipe."""
        registry = f"{self.cloud.account}.dkr.ecr.{self.cloud.region}.amazonaws.com"
        given: dict[str, Any] = {
            "images": (ContainerImage(repository=f"{registry}/batch-processor", tag="latest"),),
            "models": (
                Model(source="s3://local-ml-models/models/", destination="/opt/ml/models/"),
            ),
        }
        found = resolve(ImageRecipe(**given | changes), self.aws)
        assert found.recipe is not None
        return found.recipe

    def site(self, **changes: Any) -> BuildSite:
        given: dict[str, Any] = {
            "region": self.cloud.region,
            "subnet_ids": SUBNETS,
            "security_group_ids": (GROUP,),
            "instance_profile": PROFILE,
            "instance_types": ("g5.xlarge", "g4dn.xlarge"),
        }
        return BuildSite(**given | changes)

    def lineage(self, stack: str = "dev", name: str = "ami") -> Lineage:
        urn = f"urn:pulumi:{stack}::baked-ami::BakedAmi::{name}"
        return Lineage(project="baked-ami", stack=stack, name=name, urn=urn)

    def bake(
        self,
        recipe: ResolvedRecipe | None = None,
        site: BuildSite | None = None,
        lineage: Lineage | None = None,
        keep: int = 0,
    ) -> BakedImage:
        return bake(
            recipe or self.resolve(),
            site or self.site(),
            lineage or self.lineage(),
            aws=self.aws,
            report=self.said.append,
            user_tags={"team": "vision"},
            keep=keep,
        )

    def count(self) -> dict[str, int]:
        """What the account holds of what a bake makes: machines that are not gone, disks, AMIs.

        A machine that is shutting down takes its disk with it: neither counts.
        """
        ec2 = self.aws.ec2
        volumes = ec2.describe_volumes()["Volumes"]
        up = [{"Name": "instance-state-name", "Values": list(NOT_OVER)}]
        found = ec2.describe_instances(Filters=up)["Reservations"]  # type: ignore[arg-type]
        machines = {m["InstanceId"] for r in found for m in r["Instances"]}
        holders = [{a["InstanceId"] for a in volume["Attachments"]} for volume in volumes]
        return {
            "machines": len(machines),
            "volumes": sum(not of or bool(of & machines) for of in holders),
            "images": len(ec2.describe_images(Owners=["self"])["Images"]),
            "snapshots": len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]),
        }


NOT_OVER = ("pending", "running", "stopping", "stopped")
EMPTY = {"machines": 0, "volumes": 0, "images": 0, "snapshots": 0}
ONE_AMI = {"machines": 0, "volumes": 0, "images": 1, "snapshots": 1}


def extra(name: str, script: str) -> tuple[ExtraStep, ...]:
    return (ExtraStep(name=name, script=script),)


@contextmanager
def open_bakery(
    monkeypatch: pytest.MonkeyPatch,
    *,
    real: bool,
    state: Path | None = None,
    details: Path | None = None,
    clock: Clock | None = None,
) -> Iterator[Bakery]:
    """A fresh cloud; this process's AWS clients talk to it until the block ends."""
    with Cloud(
        real=real, state=state, details=details, clock=clock, say=lambda _text: None
    ) as cloud:
        assert cloud.real == real
        seed(cloud)
        for name, value in client_environment(cloud).items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        create_profile(boto3.client("iam"))
        get_aws.cache_clear()  # Of another cloud of this process.
        yield Bakery(cloud, Aws(cloud.region))
        get_aws.cache_clear()


def create_profile(iam: Any) -> None:
    """The instance profile that builders have, with its role."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    iam.create_role(
        RoleName=PROFILE,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    allowed = {"Effect": "Allow", "Action": ACTIONS, "Resource": "*"}
    iam.put_role_policy(
        RoleName=PROFILE,
        PolicyName="bake",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    iam.create_instance_profile(InstanceProfileName=PROFILE)
    iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)
