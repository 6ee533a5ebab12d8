"""Runs the builder's steps with bash under a scratch root: no machine, no Docker, no AWS."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEPS = Path(__file__).parents[2] / "ami_provider" / "steps"


@dataclass
class Scratch:
    """A folder that plays the machine: `root` is its disk, `state` its memory, `bin` its tools."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.root, self.state, self.bin):
            path.mkdir(parents=True)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def put(self, path: str, text: str, *, mode: int = 0o644) -> Path:
        """A file on the scratch disk."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def give(self, name: str, text: str) -> None:
        """A parameter file, as it is delivered to a machine."""
        (self.state / name).write_text(text)

    def fake(self, name: str, script: str) -> None:
        """A program of this name for the steps to call."""
        target = self.bin / name
        target.write_text(f"#!/bin/bash\n{script}\n")
        target.chmod(0o755)

    def run(self, step: str, *arguments: str, check: bool = True) -> str:
        """Run a step; its output. With `check`, it must succeed."""
        done = subprocess.run(
            ["bash", str(STEPS / f"{step}.sh"), *arguments],
            capture_output=True,
            text=True,
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "BAKED_AMI_ROOT": str(self.root),
                "BAKED_AMI_STATE": str(self.state),
                **self.environment,
            },
            timeout=120,
        )
        output = done.stdout + done.stderr
        if check:
            assert done.returncode == 0, output
        else:
            assert done.returncode != 0, output
        return output

    def fail(self, step: str) -> tuple[str, str]:
        """Run a step that must fail; the kind and the message it gives."""
        output = self.run(step, check=False)
        marked = [li for li in output.splitlines() if li.startswith("baked-ami-failure: ")]
        assert marked, output
        kind, _, message = marked[-1].removeprefix("baked-ami-failure: ").partition(": ")
        return kind, message

    def result(self, step: str) -> dict[str, Any]:
        found = json.loads((self.state / "results" / f"{step}.json").read_text())
        assert isinstance(found, dict)
        return found

    def snapshot(self) -> dict[str, tuple[str, float]]:
        """Every file of the disk with its content and time: equal before and after "no change"."""
        return {
            str(p.relative_to(self.root)): (p.read_text(errors="replace"), p.stat().st_mtime)
            for p in sorted(self.root.rglob("*"))
            if p.is_file()
        }
