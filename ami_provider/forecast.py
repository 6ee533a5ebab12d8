"""What a bake would be, before it is: adopted or baked, how long, at what cost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ami_provider.costs import (
    INITIALIZATION_USD_GIB,
    NETWORK_USD_GB,
    BreakEven,
    Price,
    format_usd,
    get_machine_usd,
    get_month_usd,
)
from ami_provider.course import (
    BASE_USED_GIB,
    EXTRA,
    FETCH,
    GIB,
    UNPACKED,
    Sizes,
    get_sizes,
    list_stages,
)
from ami_provider.job import Start
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite
from ami_provider.stages import format_seconds
from ami_provider.timings import Basis, Timings, estimate

Outcome = Literal["adopt", "bake", "unknown"]
SHOWN = 3
"""Stages that a short text names: the longest."""


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """One stage and its expected seconds, None where there is nothing to go by."""

    key: str
    what: str
    seconds: float | None
    basis: Basis


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What will come of a recipe at a site, as far as it can be known now.

    `why` says why it is adopted or baked. `not_known` names what is missing for a duration; then
    `seconds` and the costs are None. `earlier` is how many earlier bakes it goes by. Storage is
    that of the whole volume, the most there can be. Where incremental bakes are asked for, `start`
    is what this one starts from, or `why_full` says why it starts from the base AMI.
    """

    outcome: Outcome
    why: str
    ami_id: str = ""
    owner_id: str = "self"
    start: Start | None = None
    why_full: str = ""
    stages: tuple[StageForecast, ...] = ()
    earlier: int = 0
    not_known: tuple[str, ...] = ()
    price: Price | None = None
    bake_usd: float | None = None
    month_usd: float | None = None
    break_even: BreakEven | None = None

    @property
    def seconds(self) -> float | None:
        """Of the whole bake, without extra steps whose time nobody knows; 0 where none is baked."""
        if self.outcome == "unknown" or self.not_known:
            return None
        return sum(stage.seconds or 0.0 for stage in self.stages)

    def to_lines(self) -> tuple[str, ...]:
        """For `pulumi preview`: one line, or three where a bake is coming, or four where it might
        be an incremental one."""
        if self.outcome != "bake":
            return (self.why,)
        return (self.why, *_tell_start(self), _tell_duration(self), _tell_costs(self))


def forecast_bake(
    recipe: ResolvedRecipe,
    site: BuildSite,
    why: str,
    *,
    start: Start | str | None = None,
    earlier: Sequence[Timings] = (),
    price: Price | None = None,
) -> Forecast:
    """The forecast of a bake that is coming.

    `start` is what an incremental one starts from, or why it is none; None if nobody asked.
    `earlier` are the lineage's bakes, `price` the one that the builder and the verifier will have
    at their first choice; None leaves the bake's cost unknown.
    """
    sizes = get_sizes(recipe, site)
    chosen = start if isinstance(start, Start) else None
    stages = tuple(_list_stages(recipe, site, sizes, earlier))
    unknown = tuple(_find_unknown(recipe))
    month = get_month_usd(max(recipe.root_volume.size_gib, recipe.base.size_gib))
    bake_usd = break_even = None
    if price and not unknown:
        seconds = sum(stage.seconds or 0.0 for stage in stages)
        bake_usd = get_machine_usd(price, seconds) + _get_loading_usd(sizes)
        break_even = BreakEven(
            month_usd=month,
            bake_usd=bake_usd,
            saved_s=get_saved_seconds(sizes),
            usd_hour=price.usd_hour,
            network_usd=(sizes.images * UNPACKED + sizes.models) / 1e9 * NETWORK_USD_GB,
        )
    return Forecast(
        outcome="bake",
        why=why,
        start=chosen,
        why_full=start if isinstance(start, str) else "",
        stages=stages,
        earlier=len(earlier) if any(s.basis == "earlier" for s in stages) else 0,
        not_known=unknown,
        price=price,
        bake_usd=bake_usd,
        month_usd=month,
        break_even=break_even,
    )


def get_saved_seconds(sizes: Sizes) -> float:
    """What a job on a plain AMI waits for: its pull, and then its models, by the bake's figures.

    The template says 17 min, of which nobody has measured one; `batch.start_model` has the whole
    start, stage by stage.
    """
    pull, _ = estimate(FETCH, Sizes(images=sizes.images, models=0))
    models, _ = estimate(FETCH, Sizes(images=0, models=sizes.models))
    return (pull or 0.0) + (models or 0.0 if sizes.models else 0.0)


def _get_loading_usd(sizes: Sizes) -> float:
    """The verifier's volume, where it is loaded at a set rate."""
    return INITIALIZATION_USD_GIB * (BASE_USED_GIB + sizes.content / GIB) if sizes.rate else 0.0


def _list_stages(
    recipe: ResolvedRecipe, site: BuildSite, sizes: Sizes, earlier: Sequence[Timings]
) -> list[StageForecast]:
    """Extra steps are one stage: earlier bakes have them as one."""
    found: dict[str, StageForecast] = {}
    for stage in list_stages(recipe, verify=site.verify != "off"):
        if stage.key in found:
            continue
        seconds, basis = estimate(stage.key, sizes, earlier)
        what = "run the extra steps" if stage.key == EXTRA else stage.what
        found[stage.key] = StageForecast(key=stage.key, what=what, seconds=seconds, basis=basis)
    return list(found.values())


def _find_unknown(recipe: ResolvedRecipe) -> list[str]:
    images = [f"the layers of {i.label}" for i in recipe.images if i.size_bytes is None]
    return [*images, *(f"the model {m.name}" for m in recipe.models if m.size_bytes is None)]


def _tell_start(forecast: Forecast) -> Iterator[str]:
    if forecast.start:
        start = forecast.start
        yield (
            f"an incremental bake, number {start.generation} in a row: it starts from "
            f"{start.ami_id} and pulls only what is missing there; the forecast below counts "
            f"all of it."
        )
    elif forecast.why_full:
        yield f"{forecast.why_full}."


def _tell_duration(forecast: Forecast) -> str:
    if forecast.seconds is None:
        missing = ", ".join(forecast.not_known)
        return f"no forecast of its duration: the size of {missing} is not known."
    known = [stage for stage in forecast.stages if stage.seconds]
    longest = sorted(known, key=lambda stage: stage.seconds or 0.0, reverse=True)[:SHOWN]
    named = ", ".join(f"{s.what} {format_seconds(s.seconds or 0.0)}" for s in longest)
    by = "sizes and published figures"
    if forecast.earlier:
        by = f"{forecast.earlier} earlier bake{'s' * (forecast.earlier > 1)} and sizes"
    more = ""
    if any(stage.key == EXTRA and stage.seconds is None for stage in forecast.stages):
        more = " and what the extra steps take"
    return f"it takes about {format_seconds(forecast.seconds)}{more}, by {by}: {named}."


def _tell_costs(forecast: Forecast) -> str:
    month = format_usd(forecast.month_usd or 0.0)
    kept = f"keeping it at most {month} a month"
    if forecast.bake_usd is None:
        why = "its duration is not known" if forecast.not_known else "no price is known"
        return f"the bake's cost is unknown ({why}), {kept}."
    costs = format_usd(forecast.bake_usd)
    about = "about " if costs.startswith("$") else ""
    told = f"the bake costs {about}{costs} ({forecast.price}), {kept}"
    even = forecast.break_even
    if even is None or even.jobs is None:
        return f"{told}."
    each = f"{format_seconds(even.saved_s)} and {format_usd(even.network_usd)}"
    return f"{told}: worth it from {even.jobs} jobs a month that save {each} each."
