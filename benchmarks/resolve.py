"""Resolving many S3 models at preview, beside the bare requests that it cannot do without.

`python benchmarks/resolve.py` lets a bucket answer a round trip late (20 ms, about what S3 takes
inside a region) and takes turns: what the provider does at a preview, with the models as a prefix
and one by one, and the same HeadObject and ListObjectsV2 calls by 16 threads and nothing around
them. The recipe's image and base AMI are a local cloud's, and take part in ours alone.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ami_provider.aws import Aws
from ami_provider.checking import check_inputs
from ami_provider.lookups.asking import AT_ONCE
from benchmarks.bakes import create_profile
from benchmarks.slow_bucket import key_of

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1.5
"""The most that a preview's resolution may take, as a multiple of the bare requests."""
BUCKET = "many-models"
REGION = "ap-northeast-2"
REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/batch-processor"


@click.command(help=__doc__)
@click.option("--models", default=1000, show_default=True, type=click.IntRange(1, 10000))
@click.option("--round-trip", default=20.0, show_default=True, help="Milliseconds an answer takes.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(models: int, round_trip: float, rounds: int, result_file: Path | None) -> None:
    """Exits 1 where a median is above the limit."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--recorded", "--", *own]
        sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    create_profile()
    with serve(models, round_trip) as address:
        os.environ["AWS_ENDPOINT_URL_S3"] = address
        seconds, requests = measure(models, rounds)
    result = judge(models, round_trip, seconds, requests)
    show(result)
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if result["held"] else 1)


@contextmanager
def serve(models: int, round_trip: float) -> Iterator[str]:
    """The bucket's address; it goes with the block."""
    command = [sys.executable, str(ROOT / "benchmarks" / "slow_bucket.py")]
    with subprocess.Popen(
        [*command, str(models), str(round_trip)],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def measure(models: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each way in each round, and S3 requests of one."""
    aws = Aws(REGION)
    prefix = [{"source": f"s3://{BUCKET}/models/", "destination": "/opt/ml/models"}]
    single = [{"source": f"s3://{BUCKET}/{key_of(at)}", "destination": f"/opt/ml/{key_of(at)}"}
              for at in range(models)]  # fmt: skip
    kept = {name: check_inputs({}, inputs(given), lambda _: aws).inputs
            for name, given in (("prefix", prefix), ("single", single))}  # fmt: skip
    ways: dict[str, Callable[[], object]] = {
        "ours, a prefix": lambda: check_inputs(kept["prefix"], inputs(prefix), lambda _: aws),
        "ours, one by one": lambda: check_inputs(kept["single"], inputs(single), lambda _: aws),
        "bare requests": lambda: ask_barely(aws.s3),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    requests: dict[str, int] = dict.fromkeys(ways, 0)
    current = ""

    def count(**_: Any) -> None:
        requests[current] += 1

    for at in range(rounds):
        if at == rounds - 1:
            aws.s3.meta.events.register("before-call", count)
        for current, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[current].append(time.perf_counter() - started)
    return seconds, requests


def ask_barely(s3: Any) -> None:
    """List the bucket and ask for each object, as many at a time as the provider does."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="models/")
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda k: s3.head_object(Bucket=BUCKET, Key=k, ChecksumMode="ENABLED"), keys))


def inputs(models: list[dict[str, str]]) -> dict[str, Any]:
    """A resource's inputs with these models, whose site is never looked up while it stays."""
    return {
        "recipe": {"images": [{"repository": REPOSITORY, "tag": "latest"}], "models": models},
        "site": {
            "region": REGION,
            "subnet_ids": ["subnet-0a10ca10000000001"],
            "security_group_ids": ["sg-0a10ca1000000000f"],
            "instance_profile": "builder",
        },
        "lineage": {"project": "benchmark", "stack": "resolve", "name": "ami", "urn": "urn:x"},
    }


def judge(
    models: int, round_trip: float, seconds: dict[str, list[float]], requests: dict[str, int]
) -> dict[str, Any]:
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratios = {name: round(one / middle["bare requests"], 3) for name, one in middle.items()}
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "models": models,
        "round_trip_ms": round_trip,
        "at_once": AT_ONCE,
        "seconds": {name: [round(one, 3) for one in taken] for name, taken in seconds.items()},
        "requests": requests,
        "ratios": ratios,
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "limit": LIMIT,
        "held": all(ratio <= LIMIT for ratio in ratios.values()),
    }


def show(result: dict[str, Any]) -> None:
    """The table that a person reads."""
    title = f"{result['models']} S3 models at preview, {result['at_once']} at a time"
    table = Table(title=title)
    for heading in ("way", "S3 requests", "min s", "median s", "max s", "x bare"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    for name, taken in result["seconds"].items():
        shown = (min(taken), statistics.median(taken), max(taken), result["ratios"][name])
        table.add_row(name, str(result["requests"][name]), *(f"{one:.2f}" for one in shown))
    console = Console()
    console.print(table)
    console.print(
        f"An answer takes {result['round_trip_ms']:g} ms. Held to {LIMIT} times the bare requests: "
        f"{'met' if result['held'] else 'not met'}.\n{result['machine']}, "
        f"{result['memory_mib']:.0f} MiB of memory at most"
    )


if __name__ == "__main__":
    main()
