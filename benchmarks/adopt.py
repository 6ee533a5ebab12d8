"""Adoption of an AMI that has the content already: what the provider needs for it.

`python benchmarks/adopt.py` bakes one AMI on a local cloud of recorded machines. Then, round after
round, a process of its own does what the engine asks of the provider for a stack that is new:
check, diff of nothing, create; with all of its imports. It lets go again outside of the time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.bakes import create_profile, list_calls

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 3.0
"""The most that the provider may take, in the median."""
REGION = "ap-northeast-2"
REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/batch-processor"


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--once", "stack", hidden=True, help="One round, for the stack of this name.")
def main(rounds: int, result_file: Path | None, stack: str | None) -> None:
    """Exits 1 where the median is above the limit, or where a machine was launched."""
    if stack:
        print(json.dumps(live(stack)))
        return
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--recorded", "--", *own]
        sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    result = measure(rounds)
    show(result)
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if result["held"] else 1)


def live(stack: str) -> dict[str, Any]:
    """Check, create and, unless it is the first stack, delete: seconds of each, and the AMI."""
    started = time.perf_counter()
    from ami_provider.provider import BakedAmiProvider

    provider = BakedAmiProvider()
    checked = provider.check({}, inputs(stack))
    if checked.failures:
        raise SystemExit(f"refused: {checked.failures[0].property}: {checked.failures[0].reason}")
    between = time.perf_counter()
    created = provider.create(checked.inputs)
    ended = time.perf_counter()
    if stack != "first":
        provider.delete(created.id, created.outs or {})
    return {"check": between - started, "create": ended - between, "ami": created.id}


def inputs(stack: str) -> dict[str, Any]:
    """What a program of this stack gives: the local cloud's image and folder of models."""
    return {
        "recipe": {
            "images": [{"repository": REPOSITORY, "tag": "latest"}],
            "models": [{"source": "s3://local-ml-models/models/", "destination": "/opt/ml/models"}],
        },
        "site": {
            "region": REGION,
            "subnet_ids": ["subnet-0a10ca10000000001"],
            "security_group_ids": ["sg-0a10ca1000000000f"],
            "instance_profile": "builder",
        },
        "lineage": {"project": "adopt", "stack": stack, "name": "ami", "urn": f"urn:{stack}"},
    }


def measure(rounds: int) -> dict[str, Any]:
    create_profile()
    baked = run_once("first")
    seconds: dict[str, list[float]] = {"check": [], "create": [], "both": []}
    calls: Counter[str] = Counter()
    for at in range(rounds):
        before = len(list_calls())
        found = run_once(f"stack-{at}")
        calls = Counter(call["action"] for call in list_calls()[before:])
        if found["ami"] != baked["ami"]:
            raise SystemExit(f"{found['ami']} was made, where {baked['ami']} has the content")
        for name in ("check", "create"):
            seconds[name].append(found[name])
        seconds["both"].append(found["check"] + found["create"])
    middle = statistics.median(seconds["both"])
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds": {name: [round(one, 3) for one in taken] for name, taken in seconds.items()},
        "baked_in_s": round(baked["check"] + baked["create"], 1),
        "launches": calls["RunInstances"],
        "calls_with_delete": sum(calls.values()),
        "limit_s": LIMIT_S,
        "held": middle <= LIMIT_S and not calls["RunInstances"],
    }


def run_once(stack: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--once", stack]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the round for {stack} failed:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(result: dict[str, Any]) -> None:
    """The table that a person reads."""
    table = Table(title=f"adopting an AMI, {len(result['seconds']['both'])} rounds")
    for heading in ("provider's", "min s", "median s", "max s"):
        table.add_column(heading, justify="left" if heading == "provider's" else "right")
    for name, taken in result["seconds"].items():
        shown = (min(taken), statistics.median(taken), max(taken))
        table.add_row(name, *(f"{one:.2f}" for one in shown))
    console = Console()
    console.print(table)
    console.print(
        f"Held to {LIMIT_S:g} s and no machine: {'met' if result['held'] else 'not met'}. "
        f"{result['launches']} machines launched, {result['calls_with_delete']} AWS calls (the "
        f"delete's among them); the bake took {result['baked_in_s']} s.\n{result['machine']}"
    )


if __name__ == "__main__":
    main()
