"""The policies and the job's container, as documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batch import documents
from batch.args import JobArgs

IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/batch-processor@sha256:{'a' * 64}"
LOGS = "arn:aws:logs:ap-northeast-2:123456789012:log-group:gpu-jobs-1a2b3c4"


def policy() -> list[dict[str, Any]]:
    text = documents.host_policy(region="ap-northeast-2", image_uri=IMAGE, log_group_arn=LOGS)
    statements: list[dict[str, Any]] = json.loads(text)["Statement"]
    return statements


def container(job: JobArgs) -> dict[str, Any]:
    text = documents.container(
        image_uri=IMAGE,
        job=job,
        models_folder="/opt/ml/models",
        region="ap-northeast-2",
        log_group="gpu-jobs-1a2b3c4",
    )
    properties: dict[str, Any] = json.loads(text)
    return properties


def test_no_action_of_a_host_is_a_wildcard() -> None:
    actions = [action for statement in policy() for action in statement["Action"]]
    assert len(actions) == len(set(actions)) > 10
    assert not [action for action in actions if "*" in action]


def test_every_resource_stands_for_itself_unless_the_action_knows_none() -> None:
    everywhere = [s["Action"] for s in policy() if s["Resource"] == "*"]
    assert everywhere == [["ecs:DiscoverPollEndpoint", "ecr:GetAuthorizationToken"]]


def test_a_host_pulls_from_the_images_own_repository_and_region_only() -> None:
    pull = next(s for s in policy() if "ecr:BatchGetImage" in s["Action"])
    assert pull["Resource"] == "arn:aws:ecr:eu-west-1:123456789012:repository/team/batch-processor"


@pytest.mark.parametrize("arn", [LOGS, f"{LOGS}:*"])
def test_a_host_writes_to_its_own_log_group_only(arn: str) -> None:
    text = documents.host_policy(region="ap-northeast-2", image_uri=IMAGE, log_group_arn=arn)
    write = next(s for s in json.loads(text)["Statement"] if "logs:PutLogEvents" in s["Action"])
    assert write["Resource"] == f"{LOGS}:*"


def test_a_job_names_the_image_exactly_as_it_was_baked() -> None:
    assert container(JobArgs())["image"] == IMAGE


def test_a_job_sees_the_models_read_only_under_the_same_path() -> None:
    properties = container(JobArgs())
    assert properties["volumes"] == [{"name": "models", "host": {"sourcePath": "/opt/ml/models"}}]
    assert properties["mountPoints"] == [
        {"sourceVolume": "models", "containerPath": "/opt/ml/models", "readOnly": True}
    ]


def test_a_job_asks_for_what_it_needs() -> None:
    properties = container(JobArgs(gpus=2, vcpus=8, memory_mib=30_000, command=("run", "x")))
    assert properties["resourceRequirements"] == [
        {"type": "VCPU", "value": "8"},
        {"type": "MEMORY", "value": "30000"},
        {"type": "GPU", "value": "2"},
    ]
    assert properties["command"] == ["run", "x"]


def test_no_gpu_and_no_command_are_left_out_not_sent_as_nothing() -> None:
    properties = container(JobArgs(gpus=0))
    assert "GPU" not in [need["type"] for need in properties["resourceRequirements"]]
    assert "command" not in properties
