"""The preview benchmark measures what it says: two programs that both change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.engine
def test_one_round_measures_both_programs_and_judges_by_the_limit(tmp_path: Path) -> None:
    """Which of the two is faster is the machine's affair; how it is judged is not."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PULUMI_"))}
    result_file = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "local_cloud", "run", "--recorded", "--",
         sys.executable, "benchmarks/preview.py", "--rounds", "1", "--json", str(result_file)],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result_file.exists(), done.stdout + done.stderr
    result = json.loads(result_file.read_text())
    seconds = {name: taken[0] for name, taken in result["seconds"].items()}
    assert set(seconds) == {"ours", "empty"}
    assert result["ratio"] == pytest.approx(seconds["ours"] / seconds["empty"], abs=0.002)
    assert done.returncode == (0 if result["ratio"] <= 1.2 else 1)
    assert f"ours / empty = {result['ratio']:.2f}" in done.stdout
