"""The JSON documents of the component, made by pure functions: policies and the job's container."""

from __future__ import annotations

import json
from typing import Any

from batch.args import JobArgs

Statement = dict[str, Any]

HOST_LOST = "Host EC2*"
"""How Batch begins the status reason of a job whose machine was reclaimed or ended (AWS Batch user
guide, "Automated job retries")."""


def trust(service: str) -> str:
    """The document that lets an AWS service take a role."""
    return _policy({"Action": "sts:AssumeRole", "Principal": {"Service": service}})


def host_policy(*, region: str, image_uri: str, log_group_arn: str) -> str:
    """What a Batch host may do: be an ECS container instance, pull its one image, write its log.

    The ECS part is AmazonEC2ContainerServiceforEC2Role's without its reach over every repository
    and log group. Pulling is the way out where the image is not in the AMI after all.
    """
    partition = log_group_arn.split(":")[1]
    account, repository = image_account(image_uri), image_repository(image_uri)
    return _policy(
        {
            "Action": ["ecs:DiscoverPollEndpoint", "ecr:GetAuthorizationToken"],
            "Resource": "*",  # neither action knows resources
        },
        {
            "Action": [
                "ecs:DeregisterContainerInstance",
                "ecs:Poll",
                "ecs:RegisterContainerInstance",
                "ecs:StartTelemetrySession",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
                "ecs:TagResource",
                "ecs:UpdateContainerInstancesState",
            ],
            # Batch names its cluster after the environment, and itself chooses the rest.
            "Resource": [
                f"arn:{partition}:ecs:{region}:{log_group_arn.split(':')[4]}:{kind}/*"
                for kind in ("cluster", "container-instance", "task")
            ],
        },
        {
            "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            "Resource": f"arn:{partition}:ecr:{image_region(image_uri)}:{account}:"
            f"repository/{repository}",
        },
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"{log_group_arn.removesuffix(':*')}:*",
        },
    )


def container(
    *, image_uri: str, job: JobArgs, models_folder: str, region: str, log_group: str
) -> str:
    """The job definition's container properties, as Batch takes them."""
    needs = {"VCPU": job.vcpus, "MEMORY": job.memory_mib, "GPU": job.gpus}
    properties: dict[str, Any] = {
        "image": image_uri,
        "resourceRequirements": [
            {"type": kind, "value": str(count)} for kind, count in needs.items() if count
        ],
        "volumes": [{"name": "models", "host": {"sourcePath": models_folder}}],
        "mountPoints": [
            {"sourceVolume": "models", "containerPath": models_folder, "readOnly": True}
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": "job",
            },
        },
    }
    if job.command:
        properties["command"] = list(job.command)
    return json.dumps(properties, sort_keys=True)


def image_repository(image_uri: str) -> str:
    """`name/space` of `account.dkr.ecr.region.amazonaws.com/name/space@sha256:…`."""
    return image_uri.partition("/")[2].partition("@")[0]


def image_account(image_uri: str) -> str:
    """The account's number, the first part of an ECR name."""
    return image_uri.partition(".")[0]


def image_region(image_uri: str) -> str:
    """The registry's region, the fourth part of an ECR name."""
    return image_uri.split(".")[3]


def _policy(*statements: Statement) -> str:
    allowed = [{"Effect": "Allow", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed}, sort_keys=True)
