"""The benchmark of model downloads measures both ways, and judges by the limits it names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_both_ways_fetch_the_same_and_are_judged_by_the_limits(tmp_path: Path) -> None:
    """With little files: which of the two is faster shows with the sizes of the default."""
    result_file = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/models.py", "--scale", "0.02", "--json", str(result_file)],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result_file.exists(), done.stdout + done.stderr
    result = json.loads(result_file.read_text())
    assert len(result["cases"]) == 4
    for row in result["cases"]:
        seconds = [row[way]["seconds"] for way in ("one by one", "ours")]
        assert row["ratio"] == pytest.approx(seconds[0] / seconds[1], abs=0.02)
        assert 0 < row["ours"]["memory_mib"] < 200
        fast = row["ratio"] >= 4 if row["link_share"] is None else row["link_share"] >= 0.9
        assert row["held"] == fast
        assert row["case"] in done.stdout
    assert done.returncode == (0 if all(row["held"] for row in result["cases"]) else 1)
