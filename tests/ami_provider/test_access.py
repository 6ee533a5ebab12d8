"""What the builder's role may do: its repositories, its models, the SSM agent; nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from ami_provider.access import builder_policy

SEOUL = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com"
MODELS = ["s3://models/detection/", "s3://models/yolo.pt", "https://example.com/w.bin"]


def statements(repositories: list[str], models: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = builder_policy(repositories, models)["Statement"]
    return found


def test_no_action_is_a_wildcard_and_none_writes() -> None:
    actions = [a for s in statements([f"{SEOUL}/app"], MODELS) for a in s["Action"]]
    assert not [action for action in actions if "*" in action]
    assert not [a for a in actions if a.split(":")[1].startswith(("Put", "Create", "Delete"))
                and not a.startswith(("ssmmessages:", "ec2messages:"))]  # fmt: skip


def test_logs_may_be_put_below_their_prefix_and_nowhere_else() -> None:
    for place in ("s3://logs/team/", "s3://logs/team"):
        written = builder_policy([f"{SEOUL}/app"], MODELS, place)["Statement"][-1]
        assert written["Action"] == ["s3:PutObject"]
        assert written["Resource"] == "arn:aws:s3:::logs/team/*"


def test_parameters_of_the_account_stay_unreadable() -> None:
    actions = [a for s in statements([f"{SEOUL}/app"], []) for a in s["Action"]]
    assert not [action for action in actions if action.startswith("ssm:GetParameter")]


def test_pulls_are_limited_to_the_repositories_wherever_they_are() -> None:
    china = "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app"
    given = statements([f"{SEOUL}/app", china], [])
    (pull,) = [s for s in given if "ecr:BatchGetImage" in s["Action"]]
    assert pull["Resource"] == [
        "arn:aws-cn:ecr:cn-north-1:210987654321:repository/team/app",
        "arn:aws:ecr:ap-northeast-2:123456789012:repository/app",
    ]


def test_an_object_is_readable_alone_and_a_prefix_with_all_below() -> None:
    (read,) = [s for s in statements([f"{SEOUL}/app"], MODELS) if "s3:GetObject" in s["Action"]]
    assert read["Resource"] == [
        "arn:aws:s3:::models/detection/*",
        "arn:aws:s3:::models/yolo.pt",
    ]


def test_without_s3_models_no_bucket_is_named() -> None:
    assert "s3" not in str(statements([f"{SEOUL}/app"], ["https://example.com/w.bin"]))


def test_another_registry_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'docker\.io/x' is not the URL of an ECR repository"):
        builder_policy(["docker.io/x"], [])
