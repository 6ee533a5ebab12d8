"""Reads how long jobs' starts take, as another program has modelled or measured it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ami_provider.errors import BakeError
from ami_provider.report_page.facts import Start, Starts

MARKS = {
    "submitted": "",
    "machine_up": "boot",
    "agent_up": "agent",
    "image_ready": "pull",
    "started": "container",
}
"""Moments of a measured start in their order, and the stage that ends with each."""

NAMES = {
    "plain": "plain AMI",
    "baked": "baked AMI",
    "baked, cold": "baked, its volume read cold",
    "baked, rate": "baked, its volume loaded at a set rate",
    "baked, FSR": "baked, fast snapshot restore",
}
"""What the page calls the AMIs of these files; others keep their names."""

HOW = (
    "Write one by `python -m batch.start_model --json > FILE` (a model of starts on AWS) or "
    "`make demo-job ARGS='--json FILE'` (two starts on the local cloud)."
)


def read_starts(path: Path) -> tuple[Starts, ...]:
    """The comparisons in a JSON file: a measurement's, a model's, or both in this order.

    `model` has rows of `variant` and `stages` with `low` and `high` seconds, `sizes` what for,
    `figures` the `source` of each; `measured`, or the whole file, has `jobs` with `times` in
    seconds, and says `where`.
    Raises `BakeError` for a file that is not so.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        told = tuple(_read(found, path.name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise BakeError(f"{path} does not tell of jobs' starts", str(why), HOW) from error
    if not told:
        raise BakeError(f"{path} does not tell of jobs' starts", "It has none.", HOW)
    return told


def _read(found: Mapping[str, Any], name: str) -> Iterator[Starts]:
    measured = found.get("measured") or (found if "jobs" in found else None)
    if measured:
        told = _read_measured(measured["jobs"], str(measured.get("where", "")), name)
        if told.starts:
            yield told
    if rows := found.get("model"):
        yield _read_model(rows, found.get("sizes", {}), found.get("figures", {}))


def _read_model(
    rows: list[Mapping[str, Any]], sizes: Mapping[str, Any], figures: Mapping[str, Any]
) -> Starts:
    content = ""
    if sizes:
        content = f" for {sizes['image_gb']:g} GB of image and {sizes['models_gb']:g} GB of models"
    starts = [
        Start(
            _call(row["variant"]),
            case,
            {stage: float(span[end]) for stage, span in row["stages"].items()},
        )
        for row in rows
        for case, end in (("at best", "low"), ("at worst", "high"))
    ]
    return Starts(
        title=f"On AWS, modelled from published figures{content}",
        note=f"modelled{content}",
        starts=tuple(starts),
        slow=_call(_pick(rows, "plain", 0)),
        fast=_call(_pick(rows, "baked, rate", -1)),
        sources=tuple(f"{name}: {figure['source']}" for name, figure in figures.items()),
    )


def _pick(rows: list[Mapping[str, Any]], wanted: str, otherwise: int) -> str:
    names = [str(row["variant"]) for row in rows]
    return wanted if wanted in names else names[otherwise]


def _call(name: str) -> str:
    return NAMES.get(name, name)


def _read_measured(jobs: Mapping[str, Any], where: str, name: str) -> Starts:
    starts = []
    for ami, job in jobs.items():
        times = job["times"]
        if all(mark in times for mark in MARKS):
            spans = {
                MARKS[after]: max(0.0, float(times[after]) - float(times[before]))
                for before, after in pairwise(MARKS)
            }
            starts.append(Start(_call(ami), str(job.get("image", "measured")), spans))
    names = [start.ami for start in starts]
    return Starts(
        title=f"Measured {where}".rstrip(),
        note=f"measured {where}".rstrip(),
        starts=tuple(starts),
        slow=names[0] if names else "",
        fast=names[-1] if names else "",
        sources=(f"{name}: seconds from SubmitJob to the container's start, one job on each AMI",),
    )
