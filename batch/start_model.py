"""How long a job's start takes, modelled from published figures: `python -m batch.start_model`.

Four ways to start the same job: on a plain AMI that pulls, on a baked one whose volume is read
cold, baked with an initialization rate, baked with fast snapshot restore.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

MB, GIB, MIB = 1e6, 1024**3, 1024**2
Variant = Literal["plain", "baked, cold", "baked, rate", "baked, FSR"]
VARIANTS: tuple[Variant, ...] = ("plain", "baked, cold", "baked, rate", "baked, FSR")


@dataclass(frozen=True)
class Figure:
    """A published range and who published it; seconds unless the name says otherwise."""

    low: float
    high: float
    source: str


FIGURES: Mapping[str, Figure] = {
    "boot": Figure(
        4.9 + 3.2,
        16.6 + 22.8,
        "to `running` 4.9 s (daemonology.net, EC2 boot time benchmarking, 2021) to 16.6 s "
        "(brevdev/ec2-coldboot-research); from there to the first service 3.2 to 22.8 s (the same)",
    ),
    "GPU machine ready": Figure(
        80,
        120,
        "a GPU machine from its request until it takes containers: 80-120 s (tensorfuse docs, lazy "
        "loading, 2025); what boot leaves of it is driver, container runtime and agent",
    ),
    "pull MB/s": Figure(
        17_000 / 360,
        17_000 / 240,
        "15-20 GB images take 4-6 min, unpacking included: 47-71 MB/s of the unpacked image",
    ),
    "read at start": Figure(
        0.064,
        0.064,
        "share of an image that its container reads while it starts: 6.4 % (Harter et al., "
        "Slacker, FAST 2016); models are read whole",
    ),
    "cold read MB/s": Figure(
        10,
        93,
        "first reads of a volume made from a snapshot: 6-12 MB/s one after the other, 93 MB/s by "
        "eight readers",
    ),
    "volume MiB/s": Figure(
        250, 250, "the gp3 volume's own throughput, as set (EBS user guide: 125-2,000)"
    ),
    "container": Figure(
        0.3, 0.6, "`docker run` of an image that is there; measured on the local cloud's machines"
    ),
    "template": Figure(
        180, 1200, "the template this project replaces says 20 min plain, 3 min baked, unmeasured"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the job needs, and what its machine's volume is. GB are 10^9 bytes."""

    image_gb: float = 17.0
    models_gb: float = 1.85
    snapshot_gib: float = 25.0
    """Data behind the AMI: base system, image and models."""
    rate_mib_s: int = 300
    throughput_mib_s: int = 250


@dataclass(frozen=True)
class Start:
    """Seconds of each stage of one start, in its order."""

    stages: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.stages.values())


def model_start(variant: Variant, sizes: Sizes, *, best: bool) -> Start:
    """One start with every figure at its best or at its worst."""
    low, high = ("low", "high") if best else ("high", "low")

    def lasts(name: str) -> float:
        return float(getattr(FIGURES[name], low))

    def speed(name: str) -> float:
        return float(getattr(FIGURES[name], high)) * MB

    boot = lasts("boot")
    agent = lasts("GPU machine ready") - boot
    needed = sizes.image_gb * 1e9 * FIGURES["read at start"].low + sizes.models_gb * 1e9
    warm = needed / (sizes.throughput_mib_s * MIB)
    stages = {"boot": boot, "agent": agent, "pull": 0.0, "reads": warm}
    if variant == "plain":
        content = (sizes.image_gb + sizes.models_gb) * 1e9
        stages |= {"pull": content / speed("pull MB/s"), "reads": 0.0}  # it is in memory by then
    elif variant == "baked, cold":
        stages["reads"] = max(warm, needed / speed("cold read MB/s"))
    elif variant == "baked, rate":
        # EBS loads the volume from the launch on, whatever is read; what is not there yet is cold.
        left = max(0.0, sizes.snapshot_gib * GIB / (sizes.rate_mib_s * MIB) - boot - agent)
        stages["reads"] = warm + min(left, needed / speed("cold read MB/s"))
    return Start(stages | {"container": lasts("container")})


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
