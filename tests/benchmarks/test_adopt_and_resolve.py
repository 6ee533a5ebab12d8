"""The benchmarks of adoption and of resolving many models measure what they say, and judge by it.

Which is faster, and whether a limit is held, is the machine's affair; how it is judged is not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and output of one run on a local cloud of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PULUMI_"))}
    result_file = folder / "result.json"
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", "--json", str(result_file), *arguments],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result_file.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(result_file.read_text()), done.stdout


def test_models_are_asked_for_once_each_and_judged_beside_the_bare_requests(tmp_path: Path) -> None:
    status, result, shown = run(
        "resolve.py", tmp_path, "--models", "40", "--rounds", "1", "--round-trip", "0"
    )
    assert result["requests"] == {
        "ours, a prefix": 41, "ours, one by one": 40, "bare requests": 41,
    }  # fmt: skip
    bare = result["seconds"]["bare requests"][0]
    for name, ratio in result["ratios"].items():
        assert ratio == pytest.approx(result["seconds"][name][0] / bare, abs=0.01)
    assert result["held"] == all(ratio <= 1.5 for ratio in result["ratios"].values())
    assert status == (0 if result["held"] else 1)
    assert ("not met" in shown) is not result["held"]


def test_an_adoption_launches_nothing_and_is_judged_by_the_limit(tmp_path: Path) -> None:
    status, result, _ = run("adopt.py", tmp_path, "--rounds", "1")
    assert result["launches"] == 0
    assert result["calls_with_delete"] <= 40, "of check, create and delete together"
    (both,) = result["seconds"]["both"]
    assert both == pytest.approx(
        sum(result["seconds"][name][0] for name in ("check", "create")), abs=0.01
    )
    assert result["held"] == (statistics.median([both]) <= 3.0)
    assert status == (0 if result["held"] else 1)
