"""How long a job's start takes, modelled from published figures: `python -m batch.start_model`.

Four ways to start the same job: on a plain AMI that pulls, on a baked one whose volume is read
cold, baked with an initialization rate, baked with fast snapshot restore.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from batch.starts import FIGURES, VARIANTS, Sizes, model_start


def table(sizes: Sizes) -> list[dict[str, Any]]:
    """A row for each variant: `low` and `high` seconds of every stage, and in all."""
    rows = []
    for variant in VARIANTS:
        best, worst = (model_start(variant, sizes, best=each) for each in (True, False))
        stages = {
            name: {"low": round(best.stages[name], 1), "high": round(worst.stages[name], 1)}
            for name in best.stages
        }
        total = {"low": round(best.total, 1), "high": round(worst.total, 1)}
        rows.append({"variant": variant, "stages": stages, "total": total})
    return rows


@click.command()
@click.option("--image-gb", default=17.0, show_default=True, help="The image, unpacked.")
@click.option("--models-gb", default=1.85, show_default=True)
@click.option("--snapshot-gib", default=25.0, show_default=True, help="Data behind the AMI.")
@click.option("--rate", default=300, show_default=True, type=click.IntRange(100, 300))
@click.option("--throughput", default=250, show_default=True, type=click.IntRange(125, 2000))
@click.option(
    "--measured",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `benchmarks/demo_job.py --json FILE` measured on the local cloud, shown beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    image_gb: float,
    models_gb: float,
    snapshot_gib: float,
    rate: int,
    throughput: int,
    measured: Path | None,
    as_json: bool,
) -> None:
    """Print how long a job's start takes on four kinds of AMI, each figure with its source."""
    sizes = Sizes(
        image_gb=image_gb, models_gb=models_gb, snapshot_gib=snapshot_gib, rate_mib_s=rate,
        throughput_mib_s=throughput,
    )  # fmt: skip
    rows, seen = table(sizes), json.loads(measured.read_text()) if measured else None
    if as_json:
        figures = {name: vars(figure) for name, figure in FIGURES.items()}
        told = {"model": rows, "sizes": vars(sizes), "figures": figures, "measured": seen}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(in_words(rows, sizes, seen))


def in_words(rows: list[dict[str, Any]], sizes: Sizes, seen: Any = None) -> str:
    """The table, the measured timelines if there are any, and every source, for a reader."""
    names = list(rows[0]["stages"])
    lines = [
        f"A job's start in seconds: {sizes.image_gb:g} GB image, {sizes.models_gb:g} GB models, "
        f"{sizes.snapshot_gib:g} GiB behind the AMI, {sizes.rate_mib_s} MiB/s, gp3 at "
        f"{sizes.throughput_mib_s} MiB/s",
        "",
        f"{'':14}" + "".join(f"{name:>13}" for name in names) + f"{'in all':>13}{'minutes':>12}",
    ]
    for row in rows:
        cells = [*(row["stages"][name] for name in names), row["total"]]
        minutes = f"{row['total']['low'] / 60:.1f}-{row['total']['high'] / 60:.1f}"
        lines.append(f"{row['variant']:14}" + "".join(map(_cell, cells)) + f"{minutes:>12}")
    if seen is not None:
        lines += ["", "Measured on the local cloud (its latency profile, its small image):"]
        lines += _measured(seen)
    lines += ["", "Where the figures come from:"]
    lines += [f"  {name}: {figure.source}" for name, figure in FIGURES.items()]
    return "\n".join(lines)


def _measured(seen: Mapping[str, Any]) -> list[str]:
    """One line for each job of `benchmarks/demo_job.py`: its stages under the model's columns."""
    lines = []
    for name, job in seen["jobs"].items():
        at = job["times"]
        marks = ("submitted", "machine_up", "agent_up", "image_ready", "started")
        if any(mark not in at for mark in marks):
            lines.append(f"{name:14}  {job['status']}: {job['reason']}")
            continue
        boot, agent, image, container = (
            max(0.0, at[after] - at[before]) for before, after in itertools.pairwise(marks)
        )
        spans = (boot, agent, image, 0.0, container, at["started"] - at["submitted"])
        cells = "".join(f"{f'{span:.1f}' if span else '-':>13}" for span in spans)
        lines.append(f"{name:14}{cells}{job['image']:>12}")
    return lines


def _cell(span: Mapping[str, float]) -> str:
    low, high = sorted((span["low"], span["high"]))
    if high < 1:
        return f"{'-' if high == 0 else '<1':>13}"
    return f"{f'{low:.0f}-{high:.0f}' if round(low) != round(high) else f'{low:.0f}':>13}"


if __name__ == "__main__":
    main(prog_name="python -m batch.start_model")
