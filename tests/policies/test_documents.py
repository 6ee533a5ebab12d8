"""The four documents: as generated, narrow, enough for a stack's whole life, and no more."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from policies.documents import NOT_SHOWN, Document, create_documents, list_actions
from policies.scope import Scope, read_scope
from tests.policies.authorizations import Authorization, find_authorizations
from tests.policies.life import live, read
from tests.policies.questions import ask, without
from tests.policies.simulator import Answer, Question, decide
from tests.program.conftest import ROOT, LocalCloud, Stack

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("policies")]

USER = "arn:aws:iam::123456789012:user/local"
INLINE_LIMIT = 10_240
"""Characters, without spaces, of all inline policies of a role (IAM quotas)."""


def scope(key: str | None = None) -> Scope:
    """The local stack's, with a customer key where one is given."""
    found = read_scope(ROOT / "Pulumi.local.yaml")
    return replace(found, settings=found.settings.model_copy(update={"encryption_key": key}))


DOCUMENTS = create_documents(scope("arn:aws:kms:ap-northeast-2:123456789012:key/any"))
ACTIONS = [(name, action) for name, one in DOCUMENTS.items() for action in list_actions(one)]
SHOWN_HERE = [
    (name, action)
    for name, action in ACTIONS
    if name in ("pulumi", "preview") and action not in NOT_SHOWN[name]
]


@dataclass(frozen=True)
class Life:
    """What one life asked of IAM, each question once, and the documents for that life.

    The previews' questions are there twice: to who runs pulumi, and to who only previews.
    """

    documents: dict[str, Document]
    questions: list[Question]

    def of(self, policy: str, action: str) -> list[Question]:
        return [
            one
            for one in self.questions
            if (one.policy, one.authorization.action) == (policy, action)
        ]


@pytest.fixture(scope="module")
def life(cloud: LocalCloud, stack: Stack, details: Path) -> Life:
    lived = live(cloud, stack, details)
    questions = []
    for policy, noted in {"pulumi": read(details), "preview": lived.previewed}.items():
        lines = [line for line in noted if line["principal"] == USER]
        assert lines
        questions += ask(policy, find_authorizations(lines))
    return Life(create_documents(scope(lived.key)), questions)


def test_the_files_are_as_generated() -> None:
    for name, document in create_documents(scope()).items():
        file = ROOT / "policies" / "local" / f"{name}.json"
        written = json.loads(file.read_text())
        assert written == document, "run: python -m policies --write policies/local"


def test_the_readme_tells_how_many_actions_were_shown_to_be_needed() -> None:
    """Of each document with all that settings may add, but for `publication`."""
    table = (ROOT / "policies" / "README.md").read_text()
    everything = scope("arn:aws:kms:ap-northeast-2:123456789012:key/any")
    build = everything.settings.build.model_copy(update={"logs": "s3://logs/"})
    settings = everything.settings.model_copy(update={"build": build})
    for name, document in create_documents(replace(everything, settings=settings)).items():
        many, rest = len(list_actions(document)), len(NOT_SHOWN[name])
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f" | {many} | {many - rest} | {rest} |"), row


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_action_has_a_wildcard_and_no_document_is_too_long(name: str) -> None:
    document = DOCUMENTS[name]
    assert [action for action in list_actions(document) if "*" in action] == []
    assert len(json.dumps(document, separators=(",", ":"))) <= INLINE_LIMIT
    everywhere = sorted(
        action
        for one in document["Statement"]
        if one["Resource"] == "*"
        for action in one["Action"]
    )
    thing = "arn:aws:any:ap-northeast-2:123456789012:thing/1"
    asked = [Question(name, USER, Authorization(action, thing)) for action in everywhere]
    # By AWS's own tables, which the simulator has: no resource can be named for these actions.
    narrower = [
        action
        for action, answer in zip(everywhere, decide(DOCUMENTS, asked), strict=True)
        if "must.use.wildcard" not in answer.why
    ]
    assert narrower == []


def test_who_previews_may_only_look_and_at_nothing_that_who_runs_may_not() -> None:
    verbs = {action.partition(":")[2] for action in list_actions(DOCUMENTS["preview"])}
    assert [v for v in verbs if not v.startswith(("BatchGet", "Describe", "Get", "List"))] == []
    whole = {one["Sid"]: one for one in DOCUMENTS["pulumi"]["Statement"]}
    for one in DOCUMENTS["preview"]["Statement"]:
        assert set(one["Action"]) <= set(whole[one["Sid"]]["Action"])
        assert one | {"Action": ""} == whole[one["Sid"]] | {"Action": ""}


def test_every_call_of_the_whole_life_is_allowed(life: Life) -> None:
    answers = decide(life.documents, life.questions)
    denied = [
        f"{answer.result} {answer.why} {question}"
        for question, answer in zip(life.questions, answers, strict=True)
        if answer.result != "Allowed"
    ]
    assert denied == []
    print(f"{len(life.questions)} questions, all allowed")


@pytest.fixture(scope="module")
def after_removal(life: Life) -> dict[str, list[Answer]]:
    """The answers to each action's questions, asked under the document without that action."""
    documents, questions = {}, []
    for name, action in SHOWN_HERE:
        less = f"{name} without {action}"
        documents[less] = without(life.documents[name], action)
        questions += [replace(one, policy=less) for one in life.of(name, action)]
    found: dict[str, list[Answer]] = {less: [] for less in documents}
    for question, answer in zip(questions, decide(documents, questions), strict=True):
        found[question.policy].append(answer)
    return found


@pytest.mark.parametrize(("name", "action"), SHOWN_HERE)
def test_without_this_action_who_runs_or_previews_is_denied(
    name: str, action: str, after_removal: dict[str, list[Answer]]
) -> None:
    answers = after_removal[f"{name} without {action}"]
    assert answers, "no call of the life needs it: take it out, or say in NOT_SHOWN why it stays"
    assert {answer.result for answer in answers} == {"ImplicitlyDenied"}


def test_what_is_said_not_to_be_shown_is_not(life: Life) -> None:
    asked = {(one.policy, one.authorization.action) for one in life.questions}
    for name in ("pulumi", "preview"):
        assert asked & {(name, action) for action in NOT_SHOWN[name]} == set()
    for name, actions in NOT_SHOWN.items():
        assert set(actions) <= set(list_actions(DOCUMENTS[name]))


OTHERS = {"aws:ResourceTag/project": "another"}
EC2 = "arn:aws:ec2:ap-northeast-2:123456789012:"
PUBLIC = "arn:aws:ec2:ap-northeast-2::"


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context"),
    [
        ("pulumi", "ec2:TerminateInstances", f"{EC2}instance/i-0123456789abcdef0", OTHERS),
        ("pulumi", "ec2:TerminateInstances", f"{EC2}instance/i-0123456789abcdef0", {}),
        ("pulumi", "ec2:DeregisterImage", f"{PUBLIC}image/ami-0123456789abcdef0", OTHERS),
        ("pulumi", "ec2:DeleteSnapshot", f"{PUBLIC}snapshot/snap-0123456789abcdef0", {}),
        ("pulumi", "ec2:CreateTags", f"{EC2}instance/i-0123456789abcdef0", OTHERS),
        ("pulumi", "ec2:RunInstances", f"{EC2}instance/i-0123456789abcdef0", {}),
        ("pulumi", "ec2:RunInstances", f"{EC2}subnet/subnet-0123456789abcdef0", {}),
        ("pulumi", "ssm:SendCommand", f"{EC2}instance/i-0123456789abcdef0", OTHERS),
        (
            "pulumi",
            "ssm:SendCommand",
            "arn:aws:ssm:ap-northeast-2:123456789012:document/AWS-RunPowerShellScript",
            {},
        ),
        ("pulumi", "iam:PutRolePolicy", "arn:aws:iam::123456789012:role/admin", {}),
        (
            "pulumi",
            "iam:PassRole",
            "arn:aws:iam::123456789012:role/builder-1",
            {"iam:PassedToService": "lambda.amazonaws.com"},
        ),
        (
            "pulumi",
            "batch:DeleteComputeEnvironment",
            "arn:aws:batch:ap-northeast-2:123456789012:compute-environment/others",
            {},
        ),
        ("pulumi", "s3:GetObject", "arn:aws:s3:::local-ml-models/secrets/key", {}),
        ("preview", "s3:GetObject", "arn:aws:s3:::local-ml-models/secrets/key", {}),
        ("preview", "ec2:RunInstances", f"{EC2}subnet/subnet-0a10ca10000000001", {}),
        ("builder", "s3:GetObject", "arn:aws:s3:::another/models/yolo.pt", {}),
        ("builder", "s3:PutObject", "arn:aws:s3:::local-ml-models/models/yolo.pt", {}),
        (
            "builder",
            "ecr:BatchGetImage",
            "arn:aws:ecr:ap-northeast-2:123456789012:repository/another",
            {},
        ),
        (
            "batch-machine",
            "logs:PutLogEvents",
            "arn:aws:logs:ap-northeast-2:123456789012:log-group:another:log-stream:x",
            {},
        ),
    ],
)
def test_other_peoples_things_are_out_of_reach(
    policy: str, action: str, resource: str, context: dict[str, Any]
) -> None:
    question = Question(policy, USER, Authorization(action, resource, context))
    (answer,) = decide(DOCUMENTS, [question])
    assert answer.result == "ImplicitlyDenied", answer.why
