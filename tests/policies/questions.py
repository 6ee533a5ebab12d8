"""Questions to the simulator, and documents with an action less."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from policies.documents import Document
from tests.policies.authorizations import Authorization, Line
from tests.policies.simulator import Question


def ask(policy: str, found: Iterable[tuple[Line, Authorization]]) -> list[Question]:
    """Every different question once, under one document."""
    questions: dict[Any, Question] = {}
    for line, one in found:
        same = (one.action, one.resource, json.dumps(one.context, sort_keys=True))
        questions.setdefault(same, Question(policy, line["principal"], one))
    return list(questions.values())


def without(document: Document, action: str) -> Document:
    """The document with one action taken out of every statement."""
    left = copy.deepcopy(document)
    for statement in left["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != action]
    left["Statement"] = [statement for statement in left["Statement"] if statement["Action"]]
    return left
