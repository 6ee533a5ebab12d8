"""`make demo-job`: the baked AMI's job does not pull and has the models; the plain AMI's does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.machines
def test_the_same_job_on_the_plain_and_on_the_baked_ami(tmp_path: Path) -> None:
    result_file = tmp_path / "result.json"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "benchmarks/demo_job.py", "--image-mib", "8", "--models-mib", "4",
         "--json", str(result_file)],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    plain, baked = json.loads(result_file.read_text())["jobs"].values()
    assert (plain["image"], plain["models"]) == ("pulled", [])
    assert baked["image"] == "cached"
    assert baked["models"] == ["classifier.onnx", "detector.pt", "embedder.safetensors"]
    stages = ("submitted", "machine_up", "agent_up", "image_ready", "started", "stopped")
    for job in (plain, baked):
        times = [job["times"][stage] for stage in stages]
        assert times == sorted(times)
    for line in ("machine up", "agent up", "image ready", "container started"):
        assert line in done.stdout
