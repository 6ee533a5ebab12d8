"""The four documents together, and what of them the local cloud cannot show to be needed."""

from __future__ import annotations

import json
from typing import Any

from ami_provider.access import AGENT_ACTIONS, OWN_MACHINE_ACTIONS, builder_policy
from batch.documents import host_policy
from policies.preview import preview_policy
from policies.runner import REFERENCES, runner_policy
from policies.scope import Scope

Document = dict[str, Any]


def create_documents(scope: Scope) -> dict[str, Document]:
    """By name: `pulumi` (who runs it), `preview` (who only asks what it would do), `builder` and
    `batch-machine` (what the machines may do).

    The program makes the last two itself, as policies of the roles `builder-…` and `gpu-host-…`;
    the others are for the roles or users that run it.
    """
    settings = scope.settings
    machine = host_policy(
        region=scope.region,
        image_uri=f"{settings.repository_url}@sha256:{'0' * 64}",
        log_group_arn=scope.arn("logs", "log-group:gpu-jobs-*"),
    )
    sources = [model.source for model in settings.all_models()]
    return {
        "pulumi": runner_policy(scope),
        "preview": preview_policy(scope),
        "builder": builder_policy([settings.repository_url], sources, settings.build.logs),
        "batch-machine": json.loads(machine),
    }


def list_actions(document: Document) -> list[str]:
    """Every action of a document, each once."""
    return sorted({action for one in document["Statement"] for action in one["Action"]})


_AGENT = "the SSM agent's own traffic, which the local cloud's machines do not make"
_ECS = "the ECS agent's own traffic, which the local cloud's machines do not make"
_PLUGIN = "asked by the real aws plugin (terraform-provider-aws, {}), not by the stand-in"
_PULL = "named by ECR's documentation for pulls; this Docker asks for every layer at once"
_EC2 = "asked by EC2 in the caller's name, with the customer key"
NOT_SHOWN: dict[str, dict[str, str]] = {
    "pulumi": {
        **dict.fromkeys(REFERENCES, "asked by EC2 in the caller's name, about who uses an AMI"),
        "ec2:ModifyImageAttribute": "gives an AMI's sharing back when its removal was called off",
        "ec2:StopInstances": "only for an on-demand builder that `onFailure: keep` leaves",
        "ec2:DescribeNetworkInterfaces": _PLUGIN.format("a security group's delete"),
        "kms:Decrypt": _EC2,
        "kms:GenerateDataKeyWithoutPlaintext": _EC2,
        "kms:ReEncryptFrom": _EC2,
        "kms:ReEncryptTo": _EC2,
    },
    "preview": {},
    "builder": {
        **dict.fromkeys((*AGENT_ACTIONS, *OWN_MACHINE_ACTIONS), _AGENT),
        "ecr:BatchCheckLayerAvailability": _PULL,
    },
    "batch-machine": {
        "ecr:BatchCheckLayerAvailability": _PULL,
        **dict.fromkeys(
            (
                "ecs:DeregisterContainerInstance",
                "ecs:DiscoverPollEndpoint",
                "ecs:Poll",
                "ecs:StartTelemetrySession",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
                "ecs:TagResource",
                "ecs:UpdateContainerInstancesState",
            ),
            _ECS,
        ),
    },
}
"""By document and action: why no call on the local cloud needs it. AWS's documentation asks for
each (Systems Manager user guide, "Configure instance permissions"; ECS developer guide, "Container
instance IAM role"; EBS user guide, "Required permissions for the KMS key")."""
