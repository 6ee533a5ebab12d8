"""Charts as inline SVG that fits any width: every place along x is in percent. Pure.

They are drawn beside the figures of a table, or name the table that has them: a screen reader gets
those. Colors are classes of `page.css`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ami_provider.report_page.facts import Cost
from ami_provider.report_page.figures import count_in_words, dollars_in_words, even_ticks

BAR_HEIGHT = 22
PLOT_HEIGHT = 260


@dataclass(frozen=True)
class Piece:
    """A piece of a bar from `start` to `end`, in the chart's own unit; `look` is its class."""

    start: float
    end: float
    look: str
    title: str = ""


def draw_bar(pieces: Sequence[Piece], most: float, ticks: Sequence[float] = ()) -> Markup:
    """One row of a bar chart, as wide as `most`, over the lines of its ticks."""
    pieces = [piece for piece in pieces if piece.end > piece.start]
    lines = [
        f'<line class="grid" x1="{_percent(t, most)}" x2="{_percent(t, most)}" y1="0" y2="100%"/>'
        for t in ticks
    ]
    bars = [
        f'<rect class="{escape(p.look)}" x="{_percent(p.start, most)}" y="3" '
        f'style="width:max(2px,{_percent(p.end - p.start, most)})" height="{BAR_HEIGHT - 6}">'
        f"<title>{escape(p.title)}</title></rect>"
        for p in pieces
    ]
    return Markup(  # noqa: S704 (made of numbers and of what is escaped above)
        f'<svg class="bar" width="100%" height="{BAR_HEIGHT}" aria-hidden="true" '
        f'focusable="false">{"".join(lines + bars)}</svg>'
    )


def draw_axis(labels: Sequence[tuple[float, str]], most: float) -> Markup:
    """The names of the ticks, to stand above the bars that have the same `most`."""
    texts = [
        f'<text x="{_percent(at, most)}" y="12" text-anchor="{_anchor(at, most)}">'
        f"{escape(label)}</text>"
        for at, label in labels
    ]
    return Markup(  # noqa: S704
        f'<svg class="axis" width="100%" height="16" aria-hidden="true" '
        f'focusable="false">{"".join(texts)}</svg>'
    )


def draw_break_even(cost: Cost, *, label: str, described_by: str) -> Markup:
    """Dollars a month over jobs a month: what the AMI costs (level), what it saves (rising)."""
    jobs = get_most_jobs(cost)
    top = max(cost.month * 1.3, cost.saving_job * jobs, 1e-9)
    level, rise = _y(1 - cost.month / top), _y(1 - cost.saving_job * jobs / top)
    parts = []
    if cost.meeting is not None:
        # Polygons know no percent: this one is stretched with the plot.
        corners = ((100 * cost.meeting / jobs, level), (100, rise), (100, level))
        points = " ".join(f"{x:.2f},{y:.1f}" for x, y in corners)
        parts.append(
            f'<svg width="100%" height="{PLOT_HEIGHT}" viewBox="0 0 100 {PLOT_HEIGHT}" '
            f'preserveAspectRatio="none"><polygon class="worth" points="{points}"/></svg>'
        )
    for dollars in even_ticks(top, 4):
        y = _y(1 - dollars / top)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        if dollars:
            text = escape(dollars_in_words(dollars))
            parts.append(f'<text class="tick" x="0" y="{y - 4:.1f}">{text}</text>')
    for count in even_ticks(jobs, 5):
        at = _percent(count, jobs)
        parts.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="{_y(1)}" y2="{_y(1) + 5}"/>'
            f'<text class="tick" x="{at}" y="{_y(1) + 18}" '
            f'text-anchor="{_anchor(count, jobs)}">{count_in_words(count)}</text>'
        )
    parts += [
        f'<line class="costs" x1="0" x2="100%" y1="{level}" y2="{level}"/>',
        f'<line class="saves" x1="0" x2="100%" y1="{_y(1)}" y2="{rise}"/>',
    ]
    if cost.meeting is not None:
        at = _percent(cost.meeting, jobs)
        parts += [
            f'<line class="mark" x1="{at}" x2="{at}" y1="{level}" y2="{_y(1)}"/>',
            f'<circle class="mark" cx="{at}" cy="{level}" r="6"/>',
            f'<text class="mark-label" x="{at}" y="{level + 26:.1f}" dx="8">'
            f"from {count_in_words(cost.break_even_jobs or 0)} jobs on</text>",
        ]
    return Markup(  # noqa: S704
        f'<svg class="plot" width="100%" height="{PLOT_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}" aria-describedby="{escape(described_by)}">'
        f"{''.join(parts)}</svg>"
    )


def get_most_jobs(cost: Cost) -> float:
    """How far the axis of jobs goes: to an even number past two break-evens."""
    if not cost.meeting:
        return 20.0
    step = even_ticks(cost.meeting * 2)[1]
    return step * math.ceil(cost.meeting * 2 / step)


def _y(share: float) -> float:
    """A share of the plot from its top (0) to its bottom (1), between the margins for text."""
    return round(18 + share * (PLOT_HEIGHT - 18 - 26), 1)


def _percent(value: float, most: float) -> str:
    return f"{100 * value / most if most else 0:.2f}%"


def _anchor(value: float, most: float) -> str:
    if value <= 0:
        return "start"
    return "end" if value > 0.96 * most else "middle"
