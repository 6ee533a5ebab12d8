"""Fills the page's template with a report: one HTML document that asks for nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ami_provider.report_page import figures
from ami_provider.report_page.charts import (
    Piece,
    draw_axis,
    draw_bar,
    draw_break_even,
    get_most_jobs,
)
from ami_provider.report_page.facts import Cost, Part, Report, Stage, Starts

HERE = Path(__file__).parent
LOOKS = 6
"""How many colors `page.css` has for the pieces of a bar, `look-0` first."""


@dataclass(frozen=True)
class Row:
    """A row of a chart that is a table: what it is, its bar, and the figures in words."""

    name: str
    bar: Markup
    cells: tuple[str, ...]
    detail: str = ""
    key: str = ""


@dataclass(frozen=True)
class Chart:
    """Rows under one axis; `keys` explain the colors as (class, what it stands for)."""

    rows: tuple[Row, ...]
    keys: tuple[tuple[str, str], ...]
    axis: Markup | str = ""


def render(report: Report) -> str:
    """The whole page as text. What it says is escaped: names and sources may hold anything."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "seconds": figures.seconds_in_words,
        "bytes": figures.bytes_in_words,
        "dollars": figures.dollars_in_words,
        "count": figures.count_in_words,
        "moment": lambda when: f"{when:%Y-%m-%d %H:%M} UTC",
    }
    return environment.get_template("page.html.j2").render(
        report=report,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        timeline=draw_timeline(report.stages),
        contents=draw_contents(report.parts),
        break_even=draw_cost(report.cost) if report.cost else None,
        headline=find_headline(report.starts[0]) if report.starts else None,
        starts=[(one, draw_starts(one, list_stage_names(report))) for one in report.starts],
        facts=list_facts(report),
    )


def draw_timeline(stages: Sequence[Stage]) -> Chart:
    """Each stage from where the one before ended."""
    ends = list(accumulate(stage.seconds for stage in stages))
    total = ends[-1] if ends else 0.0
    ticks = figures.time_ticks(total)
    longest = max((stage.seconds for stage in stages), default=0.0)
    rows = []
    for stage, end in zip(stages, ends, strict=True):
        begin = end - stage.seconds
        look = "look-1" if stage.seconds == longest else "look-0"
        took, since = map(figures.seconds_in_words, (stage.seconds, begin))
        title = f"{stage.name}: {took}, from {since}"
        bar = draw_bar([Piece(begin, end, look, title)], total, ticks)
        share = figures.share_in_words(stage.seconds, total)
        rows.append(Row(stage.name, bar, (took, share)))
    axis = draw_axis([(t, figures.seconds_in_words(t) if t else "0") for t in ticks], total)
    keys = (("look-0", "a stage"), ("look-1", "the longest stage"))
    return Chart(tuple(rows), keys, axis)


def draw_contents(parts: Sequence[Part]) -> Chart:
    """The largest first, each as a share of all."""
    total = sum(part.bytes for part in parts)
    kinds = list(dict.fromkeys(part.kind for part in parts))
    rows = []
    most = max((part.bytes for part in parts), default=0)
    for part in sorted(parts, key=lambda part: -part.bytes):
        size = figures.bytes_in_words(part.bytes)
        look = f"look-{kinds.index(part.kind) % LOOKS}"
        bar = draw_bar([Piece(0, part.bytes, look, f"{part.name}: {size}")], most)
        share = figures.share_in_words(part.bytes, total)
        rows.append(Row(part.name, bar, (size, share), part.detail))
    return Chart(tuple(rows), tuple((f"look-{n % LOOKS}", kind) for n, kind in enumerate(kinds)))


def list_stage_names(report: Report) -> list[str]:
    """Stages of every start on the page: one has the same color everywhere."""
    starts = [start for compared in report.starts for start in compared.starts]
    return list(dict.fromkeys(name for start in starts for name in start.stages))


def draw_starts(compared: Starts, colored: Sequence[str]) -> Chart:
    """The stages of each start end to end, all on one scale."""
    names = list(dict.fromkeys(name for start in compared.starts for name in start.stages))
    looks = {name: f"look-{colored.index(name) % LOOKS}" for name in names}
    most = max((start.total for start in compared.starts), default=0.0)
    ticks = figures.time_ticks(most)
    rows = []
    for start in compared.starts:
        pieces, at = [], 0.0
        for name, seconds in start.stages.items():
            title = f"{name}: {figures.seconds_in_words(seconds)}"
            pieces.append(Piece(at, at + seconds, looks[name], title))
            at += seconds
        cells = [figures.seconds_in_words(start.total)]
        cells += [figures.seconds_in_words(start.stages.get(name, 0.0)) for name in names]
        rows.append(Row(start.ami, draw_bar(pieces, most, ticks), tuple(cells), start.case))
    axis = draw_axis([(t, figures.seconds_in_words(t) if t else "0") for t in ticks], most)
    keys = tuple((looks[name], name) for name in names)
    return Chart(tuple(rows), keys, axis)


def find_headline(compared: Starts) -> dict[str, str]:
    """How long a start takes on the slow and on the fast AMI: `5.8-8.7 min`, or `12 s`."""
    return {
        "slow": figures.span_in_words(compared.list_totals(compared.slow)),
        "fast": figures.span_in_words(compared.list_totals(compared.fast)),
    }


def draw_cost(cost: Cost) -> dict[str, Any]:
    """The break-even chart, and its figures: jobs, what the AMI costs, what they save."""
    even, most = cost.break_even_jobs, get_most_jobs(cost)
    counts = {0.0, most / 2, most} | ({even} if even is not None else set())
    label = "Cost and saving in dollars a month over jobs a month" + (
        f": the AMI is worth it from {even} jobs on" if even is not None else ": they never meet"
    )
    return {
        "chart": draw_break_even(cost, label=label, described_by="cost-summary"),
        "rows": [
            (
                figures.count_in_words(jobs),
                *map(figures.dollars_in_words, (cost.month, jobs * cost.saving_job)),
            )
            for jobs in sorted(counts)
        ],
    }


def list_facts(report: Report) -> list[tuple[str, str]]:
    """What identifies the AMI, and what it was made from, as name and value."""
    ami = report.ami
    told: list[tuple[str, str]] = [
        ("AMI", ami.id),
        ("Name", ami.name),
        ("Region", ami.region),
        ("State", ami.state),
        ("Made", f"{ami.created:%Y-%m-%d %H:%M} UTC"),
        ("Lineage", ami.lineage),
        ("Checked on a machine of its own", ami.verified),
        ("Fingerprint", ami.fingerprint),
        ("Root volume", f"{ami.volume_gib} GiB"),
        ("Snapshots", ", ".join(ami.snapshot_ids)),
    ]
    told += _flatten(report.manifest)
    return [(name, value) for name, value in told if value]


def _flatten(manifest: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Plain data as lines of name and value; a list of objects gives a line for each."""
    lines: list[tuple[str, str]] = []
    for key, value in manifest.items():
        name = f"{above} {key.replace('_', ' ')}".strip()
        if isinstance(value, Mapping):
            lines += _flatten(value, name)
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, 1):
                lines += _flatten(one, f"{name} {number}")
        elif isinstance(value, list):
            lines.append((name, ", ".join(map(str, value))))
        elif isinstance(value, bool):
            lines.append((name, "yes" if value else "no"))
        else:
            lines.append((name, str(value)))
    return lines
