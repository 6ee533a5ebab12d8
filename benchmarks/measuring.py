"""What the measurements share: spreads of rounds, targets met or not, and the machine's name."""

from __future__ import annotations

import json
import os
import platform
import statistics
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Target:
    """One thing that a measurement is held to: `found` must be at most `most`, or at least
    `least`."""

    what: str
    found: float
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        above = self.most is not None and self.found > self.most
        return not above and (self.least is None or self.found >= self.least)

    @property
    def asked(self) -> str:
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "asked": self.asked, "met": self.met}


def describe_machine() -> str:
    """The machine that a figure is from: system, cores, Python, and what it was busy with."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"Python {platform.python_version()}"
    )


def control(what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the local cloud about itself, or tell it."""
    request = urllib.request.Request(
        f"{os.environ['AWS_ENDPOINT_URL']}/_local_cloud/{what}",
        data=None if body is None else json.dumps(body).encode(),
        method="GET" if body is None else "PUT",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def spread(taken: Sequence[float]) -> str:
    """Minimum / median / maximum of some rounds, as a table shows them."""
    if len(set(taken)) == 1:
        return f"{taken[0]:.1f}"
    return " / ".join(f"{one:.1f}" for one in (min(taken), statistics.median(taken), max(taken)))


def finish(result: dict[str, Any], targets: Sequence[Target], result_file: Path | None) -> int:
    """Print targets and machine, write the JSON; the exit code: 1 where a target was not met."""
    result = {
        **result,
        "machine": describe_machine(),
        "targets": [one.to_json() for one in targets],
    }
    table = Table("target", "asked", "found", "met")
    for one in targets:
        table.add_row(one.what, one.asked, f"{one.found:.4g}", "yes" if one.met else "NO")
    console = Console(width=110)
    console.print(table)
    console.print(result["machine"])
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(one.met for one in targets) else 1
