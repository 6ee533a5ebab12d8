"""Stacks of the program of options on the real engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.ami_provider.clouds import create_profile
from tests.ami_provider.stacks import Stack
from tests.program.conftest import LocalCloud

HERE = Path(__file__).parent


class Options(Stack):
    """A stack whose program is told in its environment what to be."""

    def asks(self, **asked: Any) -> None:
        self.cloud.environment["PROGRAM"] = json.dumps(asked)

    @property
    def urn(self) -> str:
        (found,) = (one["urn"] for one in self.export() if one["type"].endswith(":BakedAmi"))
        return str(found)

    def export(self) -> list[dict[str, Any]]:
        found = json.loads(self.run("stack", "export"))["deployment"].get("resources", [])
        return [one for one in found if not one.get("delete")]


def create_options(cloud: LocalCloud, folder: Path) -> Options:
    """A new stack; its program is told by an environment of its own."""
    if not cloud.client("iam").list_instance_profiles()["InstanceProfiles"]:
        create_profile(cloud.client("iam"))
    (folder / "Pulumi.yaml").write_text("name: options\nruntime: python\n")
    (folder / "__main__.py").write_text((HERE / "program_of_options.py").read_text())
    stack = Options(replace(cloud, environment=dict(cloud.environment)), "dev", folder)
    stack.run("stack", "init")
    return stack
