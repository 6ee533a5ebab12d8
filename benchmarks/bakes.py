"""What several bakes in one program cost: their time and AWS calls, beside one bake alone.

`python benchmarks/bakes.py` starts a local cloud of recorded machines with a latency profile (each
change of state takes seconds, as in AWS) and brings up `examples/many_amis` with 1, 4 and 10 AMIs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Target  # noqa: E402

PROGRAM = ROOT / "examples" / "many_amis"
LIMITS = {4: 1.3, 10: 3.3}
"""The most that so many bakes may take, as a multiple of one. A process has 4 worker threads."""

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@click.command(help=__doc__)
@click.option("--latency", default="5s", show_default=True, help="The local cloud's profile.")
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(latency: str, result_file: Path | None) -> None:
    """Exits 1 where a limit is not kept."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        cloud = ["local_cloud", "run", "--recorded", "--latency", latency, "--"]
        run = [sys.executable, "-m", *cloud, *own]
        sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    create_profile()
    pulumi({}, "stack", "init", "bench")
    try:
        results = {many: measure(many) for many in (1, *LIMITS)}
    finally:
        (PROGRAM / "Pulumi.bench.yaml").unlink(missing_ok=True)
    kept = show(results, latency)
    if result_file:
        told = {"latency": latency, "bakes": results, "targets": list_targets(results)}
        result_file.write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(0 if kept else 1)


def create_profile() -> None:
    iam = boto3.client("iam")
    iam.create_role(RoleName="builder", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName="builder")
    iam.add_role_to_instance_profile(InstanceProfileName="builder", RoleName="builder")


def measure(many: int) -> dict[str, Any]:
    """Seconds of an `up` that bakes so many AMIs, and its AWS calls; they are gone afterwards."""
    bakes = {f"ami-{many}-{number}": f"echo {many} {number}" for number in range(many)}
    before = len(list_calls())
    started = time.perf_counter()
    pulumi(bakes, "up", "--yes", "--skip-preview")
    seconds = time.perf_counter() - started
    calls = Counter(call["action"] for call in list_calls()[before:])
    pulumi(bakes, "destroy", "--yes", "--skip-preview")
    looks = sum(n for action, n in calls.items() if action.startswith(("Describe", "Get", "List")))
    return {
        "seconds": round(seconds, 1),
        "calls": sum(calls.values()),
        "looks": looks,
        "describes": sum(n for action, n in calls.items() if action.startswith("Describe")),
        "launches": calls["RunInstances"],
        "by_action": dict(calls.most_common()),
    }


def list_calls() -> list[dict[str, Any]]:
    asked = [sys.executable, "-m", "local_cloud", "calls", "--json"]
    done = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["calls"]
    return found


def pulumi(bakes: dict[str, str], *arguments: str) -> None:
    """Run the CLI on the program; its own words and a stop where it fails."""
    stack = [] if arguments[:2] == ("stack", "init") else ["--stack", "bench"]
    done = subprocess.run(
        ["pulumi", *arguments, *stack, "--non-interactive"],
        cwd=PROGRAM,
        env={**os.environ, "BAKES": json.dumps(bakes), "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"pulumi {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def list_targets(results: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is asked and found, for `all.py`."""
    return [
        Target(
            f"{many} AMIs in one program / one, time",
            results[many]["seconds"] / results[1]["seconds"],
            most=limit,
        ).to_json()
        for many, limit in LIMITS.items()
    ]


def show(results: dict[int, dict[str, Any]], latency: str) -> bool:
    """Print the table; whether every limit was kept."""
    table = Table(title=f"Bakes in one program, latency profile {latency}, recorded machines")
    for head in ("AMIs", "seconds", "x one", "limit", "calls", "describe calls", "x one"):
        table.add_column(head, justify="right")
    one, kept = results[1], True
    for many, found in results.items():
        ratio, more = found["seconds"] / one["seconds"], found["describes"] / one["describes"]
        limit = LIMITS.get(many)
        kept = kept and (limit is None or (ratio <= limit and more < many))
        table.add_row(
            str(many), f"{found['seconds']:.1f}", f"{ratio:.2f}", str(limit or ""),
            str(found["calls"]), str(found["describes"]), f"{more:.2f}",
        )  # fmt: skip
    Console().print(table)
    return kept


if __name__ == "__main__":
    main()
