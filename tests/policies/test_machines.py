"""The documents of the builder and of the Batch machines, against what real machines ask of AWS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.seed import BUCKET, seed_image
from policies.documents import NOT_SHOWN, create_documents, list_actions
from policies.scope import read_scope
from tests.ami_provider.clouds import open_bakery
from tests.local_cloud.batch.agents import register, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.policies.authorizations import find_authorizations
from tests.policies.life import read
from tests.policies.questions import ask, without
from tests.policies.simulator import Question, decide
from tests.program.conftest import ROOT

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("policies-machines")]

LOG_GROUP = "gpu-jobs-1a2b3c4"
LOGS = f"s3://{BUCKET}/logs/"


def documents() -> dict[str, Any]:
    """The local stack's, with a place for the builder's logs."""
    scope = read_scope(ROOT / "Pulumi.local.yaml")
    build = scope.settings.build.model_copy(update={"logs": LOGS})
    return create_documents(
        replace(scope, settings=scope.settings.model_copy(update={"build": build}))
    )


DOCUMENTS = documents()
SHOWN = [
    (name, action)
    for name in ("builder", "batch-machine")
    for action in list_actions(DOCUMENTS[name])
    if action not in NOT_SHOWN[name]
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Question]]:
    """What a builder asks in one bake, and a Batch machine for one job that pulls its image."""
    folder = tmp_path_factory.mktemp("machines")
    bake(folder / "bake.jsonl")
    run_a_job(folder / "job.jsonl")
    return {
        "builder": of_machines(folder / "bake.jsonl", "builder"),
        "batch-machine": of_machines(folder / "job.jsonl", "batch-machine"),
    }


def bake(details: Path) -> None:
    """One bake with logs, from a bucket in which one model has a version."""
    with (
        pytest.MonkeyPatch.context() as patch,
        open_bakery(patch, real=True, details=details) as bakery,
    ):
        s3 = boto3.client("s3")
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=BUCKET, Key="models/versioned.pt", Body=b"weights" * 1000)
        bakery.bake(site=bakery.site(logs=LOGS))


def run_a_job(details: Path) -> None:
    """One job on the plain base AMI."""
    with make_world(real=True, details=details) as world:
        seed_image(world.cloud, mib=1)
        work = set_up(world)
        world.client("logs").create_log_group(logGroupName=LOG_GROUP)
        options = {"awslogs-group": LOG_GROUP, "awslogs-stream-prefix": "job"}
        logs = {"logDriver": "awslogs", "options": options}
        register(work, command=[], logConfiguration=logs)  # the image's own command
        job = work.ended(work.submit("pulls"))
        assert job["status"] == "SUCCEEDED", job


def of_machines(details: Path, policy: str) -> list[Question]:
    """What was asked with a machine's credentials, under the document of its role."""
    lines = [line for line in read(details) if ":assumed-role/" in line["principal"]]
    return ask(policy, find_authorizations(lines))


def test_every_call_of_the_machines_is_allowed(asked: dict[str, list[Question]]) -> None:
    questions = [one for found in asked.values() for one in found]
    answers = decide(DOCUMENTS, questions)
    denied = [
        f"{answer.result} {answer.why} {question}"
        for question, answer in zip(questions, answers, strict=True)
        if answer.result != "Allowed"
    ]
    assert denied == []


@pytest.mark.parametrize(("name", "action"), SHOWN)
def test_without_this_action_a_machine_is_denied(
    name: str, action: str, asked: dict[str, list[Question]]
) -> None:
    needing = [one for one in asked[name] if one.authorization.action == action]
    assert needing, "no machine asks for it: take it out, or say in NOT_SHOWN why it stays"
    answers = decide({name: without(DOCUMENTS[name], action)}, needing)
    assert {answer.result for answer in answers} == {"ImplicitlyDenied"}
