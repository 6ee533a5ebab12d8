"""The document of who only runs `pulumi preview`: what it looks up, and no more.

A part of the runner's own, narrowed to the same resources.
"""

from __future__ import annotations

from typing import Any

from policies.ec2 import PUBLISHING_LOOKS
from policies.runner import runner_policy
from policies.scope import Scope

LOOKS = (
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "ecr:BatchGetImage",
    "ecr:DescribeImages",
    "ecr:GetLifecyclePolicy",
    "ecr:ListImages",
    "iam:GetInstanceProfile",
    "kms:DescribeKey",
    "s3:GetObject",
    "s3:ListBucket",
    "ssm:GetParameter",
    *PUBLISHING_LOOKS,
)
"""What previews ask. `s3:GetObject` is S3's name for a look at an object, too."""


def preview_policy(scope: Scope) -> dict[str, Any]:
    """The whole document, for the settings of one stack."""
    whole = runner_policy(scope)
    kept = (
        {**one, "Action": [action for action in one["Action"] if action in LOOKS]}
        for one in whole["Statement"]
    )
    return {**whole, "Statement": [one for one in kept if one["Action"]]}
