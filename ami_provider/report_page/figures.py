"""Figures as a reader wants them: seconds, bytes and dollars in words, and even ticks. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ami_provider.stages import format_seconds

TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def seconds_in_words(seconds: float) -> str:
    """`0.4 s`, `8 s`, `4 min 10 s`, `2 h 5 min`."""
    return f"{seconds:.1f} s" if seconds < 9.95 else format_seconds(seconds)


def span_in_words(seconds: Sequence[float]) -> str:
    """From the shortest to the longest: `5.8-8.7 min`, `12-15 s`, or the one that there is."""
    if not seconds:
        return "unknown"
    low, high = min(seconds), max(seconds)
    if high < 90:
        low_text, high_text, unit = f"{low:.1f}", f"{high:.1f}", "s"
    else:
        low_text, high_text, unit = f"{low / 60:.1f}", f"{high / 60:.1f}", "min"
    return f"{low_text} {unit}" if low_text == high_text else f"{low_text}-{high_text} {unit}"


def share_in_words(part: float, whole: float) -> str:
    """`38 %`, `< 1 %`; `-` of nothing."""
    if whole <= 0:
        return "-"
    return "< 1 %" if 0 < part / whole < 0.005 else f"{100 * part / whole:.0f} %"


def bytes_in_words(number: float) -> str:
    """Bytes as people say them: `1.85 GB`, of 10^9 bytes."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {unit}"
    return f"{number:.0f} B"


def count_in_words(number: float) -> str:
    """`14`, `1,200`; `0.5` where it is not whole."""
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:g}"


def dollars_in_words(dollars: float) -> str:
    """`$1.50`; below ten cents with two digits that count: `$0.0036`."""
    if dollars == 0 or abs(dollars) >= 0.095:
        return f"${dollars:,.2f}"
    return f"${dollars:.{1 - math.floor(math.log10(abs(dollars)))}f}"


def time_ticks(longest: float, about: int = 5) -> list[float]:
    """0 and the even times up to `longest` seconds, about so many of them."""
    fitting = (step for step in TIME_STEPS if longest / step <= about)
    return _ticks(longest, next(fitting, TIME_STEPS[-1]))


def even_ticks(most: float, about: int = 5) -> list[float]:
    """0 and the even numbers up to `most`, about so many of them."""
    if most <= 0:
        return [0.0]
    power = 10 ** math.floor(math.log10(most / about))
    return _ticks(most, next(n * power for n in (1, 2, 5, 10) if most / (n * power) <= about))


def _ticks(most: float, step: float) -> list[float]:
    return [n * step for n in range(int(most / step + 1e-9) + 1)]
