"""The way out of a Batch machine: HTTPS, and nothing in."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Input, ResourceOptions
from pulumi_aws import ec2


def create_way_out(
    name: str,
    *,
    vpc_id: Input[str] | None,
    tags: Mapping[str, str],
    opts: ResourceOptions | None = None,
) -> pulumi.Output[str]:
    """A security group that lets HTTPS out and nothing in; its ID. Without a VPC: the default one.

    Enough for ECR, ECS, SSM, S3 and CloudWatch Logs, and for a machine that bakes an AMI.
    """
    group: pulumi.CustomResource = ec2.SecurityGroup(
        name,
        description="HTTPS out, nothing in: the AMI's builder and the Batch machines",
        vpc_id=vpc_id,
        egress=[
            {
                "description": "HTTPS",
                "protocol": "tcp",
                "from_port": 443,
                "to_port": 443,
                "cidr_blocks": ["0.0.0.0/0"],
                "ipv6_cidr_blocks": ["::/0"],
            }
        ],
        tags=tags,
        opts=opts,
    )
    return group.id
