"""Every measurement in turn, and one table of what each is held to: `make bench`.

`python benchmarks/all.py` takes about 20 minutes where nothing else runs; `--only NAME` takes some.
Each one's own table and JSON are in the folder that it names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Target, describe_machine  # noqa: E402


@dataclass(frozen=True)
class Measurement:
    """One command under `benchmarks/`, with the options that fit it into the whole."""

    name: str
    options: tuple[str, ...] = ()
    needs_root: bool = False
    waits: bool = False
    """It mostly waits, for a link or a profile: those that do are taken at once, at the end."""


ALL = (
    Measurement("preview"),
    Measurement("resolve"),
    Measurement("adopt"),
    Measurement("scale"),
    Measurement("packer", ("--rounds", "2"), waits=True),
    Measurement("bakes"),
    Measurement("models", waits=True),
    Measurement("start", ("--rounds", "2"), needs_root=True),
    Measurement("work", ("--rounds", "2"), needs_root=True),
    Measurement("incremental", needs_root=True, waits=True),
    Measurement("forecast", waits=True),
)


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice([one.name for one in ALL]))
@click.option(
    "--folder",
    default=ROOT / ".bench",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(only: tuple[str, ...], folder: Path, result_file: Path | None) -> None:
    """Exits 1 where a measurement fails or a target is not met."""
    chosen = [m for m in ALL if (not only or m.name in only) and place_of(m).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    results = [take(one, folder) for one in chosen if not one.waits]
    with ThreadPoolExecutor() as pool:
        results += pool.map(lambda one: take(one, folder), (one for one in chosen if one.waits))
    seconds = time.perf_counter() - started
    show(results, seconds)
    if result_file:
        told = {"machine": describe_machine(), "seconds": seconds, "measurements": results}
        result_file.write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(0 if all(one["exit"] == 0 for one in results) else 1)


def place_of(measurement: Measurement) -> Path:
    return ROOT / "benchmarks" / f"{measurement.name}.py"


def take(measurement: Measurement, folder: Path) -> dict[str, Any]:
    """Run one; what it was held to, as it told in its JSON."""
    name = measurement.name
    if measurement.needs_root and os.geteuid():
        return {"name": name, "exit": None, "seconds": 0.0, "targets": []}
    print(f"== {name}", flush=True)
    result = folder / f"{name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, str(place_of(measurement)), *measurement.options]
    started = time.perf_counter()
    with (folder / f"{name}.txt").open("w") as log:
        done = subprocess.run(
            [*command, "--json", str(result)], cwd=ROOT, check=False, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    seconds = round(time.perf_counter() - started, 1)
    print((folder / f"{name}.txt").read_text(), flush=True)
    told = json.loads(result.read_text()) if result.exists() else {}
    return {
        "name": name, "exit": done.returncode, "seconds": seconds, "targets": list_targets(told),
    }  # fmt: skip


def list_targets(told: Any) -> list[dict[str, Any]]:
    """Those of a measurement's JSON; where it has one ratio with its limit, that."""
    if not isinstance(told, dict):
        return []
    if "ratio" in told and "limit" in told:
        ratio, limit = told["ratio"], told["limit"]
        return [Target("its ratio, as in its table", ratio, most=limit).to_json()]
    return list(told.get("targets", []))


def show(results: list[dict[str, Any]], seconds: float) -> None:
    table = Table(title="What each measurement is held to")
    for head in ("measurement", "s", "target", "asked", "found", "met"):
        table.add_column(head, justify="right" if head == "s" else "left")
    for one in results:
        name, took = one["name"], f"{one['seconds']:.0f}"
        if one["exit"] is None:
            table.add_row(name, "", "needs root on Linux: not taken", "", "", "")
            continue
        for target in one["targets"]:
            met = "yes" if target["met"] else "NO"
            table.add_row(
                name, took, target["what"], target["asked"], f"{target['found']:.4g}", met
            )
            name = took = ""
        if not one["targets"]:
            met = "yes" if one["exit"] == 0 else "NO"
            table.add_row(name, took, "its own limits (see its table)", "", "", met)
    console = Console(width=140)
    console.print(table)
    console.print(f"{seconds / 60:.1f} min on {describe_machine()}")


if __name__ == "__main__":
    main()
