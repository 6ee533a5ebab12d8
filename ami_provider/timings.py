"""How long each stage of a bake took, in one tag of its AMI, for forecasts of the next. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ami_provider import tags
from ami_provider.course import Sizes, expect, get_sizes, list_stages
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite

KEY = tags.PREFIX + "timings"
"""Tag of an AMI: `launch=41 10=2 … mb=8000/1850/300/1`, seconds by stage and what they depend on:
MB of layers and of models, MiB/s of the verifier's volume (0: none), whether the system update ran.
About 130 of the 256 characters that a value may have."""

ALIKE = 4.0
"""An earlier bake tells of a size up to so many times its own, and down to that part of it: beyond
that, what does not grow with the size would be scaled with it."""

Basis = Literal["figures", "earlier", "unknown"]
"""What an expected time goes by: published figures and sizes, earlier bakes, or nothing."""


@dataclass(frozen=True)
class Timings:
    """One whole bake: seconds by stage key, and the sizes it had."""

    seconds: Mapping[str, float]
    sizes: Sizes


def to_timings(
    measured: Mapping[str, float], recipe: ResolvedRecipe, site: BuildSite
) -> Timings | None:
    """The seconds by stage of one bake, as `Stages` has them; None unless every stage is there."""
    seconds: dict[str, float] = {}
    for stage in list_stages(recipe, verify=site.verify != "off"):
        if stage.what not in measured:
            return None
        seconds[stage.key] = seconds.get(stage.key, 0.0) + measured[stage.what]
    return Timings(seconds, get_sizes(recipe, site))


def to_text(timings: Timings) -> str:
    """The tag's value."""
    sizes = timings.sizes
    size = f"{_mb(sizes.images)}/{_mb(sizes.models)}/{sizes.rate}/{int(sizes.update)}"
    return " ".join([*(f"{k}={v:.3g}" for k, v in timings.seconds.items()), f"mb={size}"])


def read_text(text: str) -> Timings | None:
    """What `to_text` wrote; None for a text of another form."""
    given = dict(word.partition("=")[::2] for word in text.split())
    try:
        images, models, rate, update = given.pop("mb").split("/")
        seconds = {key: float(value) for key, value in given.items()}
        sizes = Sizes(
            images=float(images) * 1e6,
            models=float(models) * 1e6,
            update=update == "1",
            rate=int(rate),
        )
    except (KeyError, ValueError):
        return None
    return Timings(seconds, sizes)


def estimate(key: str, sizes: Sizes, earlier: Sequence[Timings] = ()) -> tuple[float | None, Basis]:
    """Expected seconds of a stage, and what they go by.

    By earlier bakes: how much slower or quicker they were than expected for their sizes, the
    middle one of them. Those of quite other sizes say nothing of a stage that depends on them.
    """
    figure = expect(key, sizes)
    shares, alone = [], []
    for one in earlier:
        before = expect(key, one.sizes)
        if key not in one.seconds:
            continue
        if figure is None or before is None:
            alone.append(one.seconds[key])
        elif 1 / ALIKE <= figure / before <= ALIKE:
            shares.append(one.seconds[key] / before)
    if figure is not None and shares:
        return figure * statistics.median(shares), "earlier"
    if alone:
        return statistics.median(alone), "earlier"
    return figure, "unknown" if figure is None else "figures"


def _mb(size: float) -> str:
    return f"{size / 1e6:.4g}" if size < 1e9 else str(round(size / 1e6))
