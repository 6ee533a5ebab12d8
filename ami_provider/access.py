"""The builder's role and instance profile: what a bake's machine may read, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import ResourceOptions
from pulumi_aws import iam

# What the SSM agent needs to take and answer commands. AmazonSSMManagedInstanceCore has more, and
# lets a machine read every parameter of the account (AWS Systems Manager user guide, "Configure
# instance permissions"; actions of ssmmessages and ec2messages know no resources).
AGENT_ACTIONS = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssm:ListAssociations",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
OWN_MACHINE_ACTIONS = ("ssm:ListInstanceAssociations", "ssm:UpdateInstanceInformation")
"""What the agent asks about instances; the others above know no resource."""
PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)
REPOSITORY = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>.+)"
)


class BuilderAccess(pulumi.ComponentResource):
    """A role that EC2 machines take, with its instance profile for `BuildSiteArgs`.

    It may talk to SSM, pull from exactly `repositories` and read exactly the `s3://` models.
    """

    instance_profile: pulumi.Output[str]
    """The profile's name, known once its permissions are there too."""

    def __init__(
        self,
        name: str,
        *,
        repositories: Sequence[str],
        models: Sequence[str] = (),
        logs: str | None = None,
        tags: Mapping[str, str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        """`repositories`: ECR URLs without tag. `models`: sources; those not in S3 are ignored.

        `logs` is the `s3://bucket/prefix/` that the builder puts its logs below, if any.
        """
        super().__init__("baked-ami:ami:BuilderAccess", name, None, opts)
        child = ResourceOptions(parent=self)
        role = iam.Role(
            name,
            description="The machine that bakes an AMI",
            assume_role_policy=json.dumps(TRUST),
            tags=tags,
            opts=child,
        )
        permissions = iam.RolePolicy(
            name,
            role=role.name,
            policy=json.dumps(builder_policy(repositories, models, logs), sort_keys=True),
            opts=child,
        )
        profile = iam.InstanceProfile(name, role=role.name, tags=tags, opts=child)
        self.instance_profile = pulumi.Output.all(profile.name, permissions.id).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"instanceProfile": self.instance_profile})


TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "ec2.amazonaws.com"},
        }
    ],
}


def builder_policy(
    repositories: Sequence[str], models: Sequence[str], logs: str | None = None
) -> dict[str, Any]:
    """The policy document for these repositories and S3 models; raises ValueError on another URL.

    A prefix (`s3://bucket/models/`) is readable with all that is below it, an object alone.
    """
    statements: list[dict[str, Any]] = [
        {"Action": [*AGENT_ACTIONS, "ecr:GetAuthorizationToken"], "Resource": "*"},
        {"Action": list(PULL_ACTIONS), "Resource": sorted({_repository(r) for r in repositories})},
    ]
    partition = statements[1]["Resource"][0].split(":")[1]
    machines = f"arn:{partition}:ec2:*:*:instance/*"
    statements.append({"Action": list(OWN_MACHINE_ACTIONS), "Resource": machines})
    places = sorted({m.removeprefix("s3://") for m in models if m.startswith("s3://")})
    if places:
        statements.append(
            {
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": [
                    f"arn:{partition}:s3:::{place}{'*' if place.endswith('/') else ''}"
                    for place in places
                ],
            }
        )
    if logs:
        place = logs.removeprefix("s3://").rstrip("/")
        resource = f"arn:{partition}:s3:::{place}/*"
        statements.append({"Action": ["s3:PutObject"], "Resource": resource})
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **statement} for statement in statements],
    }


def _repository(url: str) -> str:
    """The ARN of the repository with this URL."""
    parts = REPOSITORY.fullmatch(url)
    if parts is None:
        raise ValueError(f"{url!r} is not the URL of an ECR repository")
    partition = "aws-cn" if url.partition("/")[0].endswith(".cn") else "aws"
    return f"arn:{partition}:ecr:{parts['region']}:{parts['account']}:repository/{parts['name']}"
