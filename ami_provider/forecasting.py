"""Asks AWS what a forecast needs, only where an AMI is about to be adopted or baked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ami_provider.aws import Aws
from ami_provider.errors import BakeError
from ami_provider.forecast import Forecast, forecast_bake
from ami_provider.job import Start
from ami_provider.lookups.prospects import find_prospects, find_web_sizes
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage
from ami_provider.unknowns import touches


def get_forecast(
    recipe: ResolvedRecipe | None,
    existing: Mapping[str, Any] | None,
    site: BuildSite,
    lineage: Lineage,
    aws: Aws,
    *,
    unknown: frozenset[str] = frozenset(),
) -> Forecast:
    """What will come of it. `existing` is the AMI that has this content, as the look-ups found it;
    `recipe` is None while an input of it is not known."""
    if existing and "owner_id" in existing:
        ami_id, owner = str(existing["ami_id"]), str(existing["owner_id"])
        why = (
            f"{ami_id} of account {owner}, which is trusted, has this content: it is used, not "
            f"baked."
        )
        return Forecast(outcome="adopt", why=why, ami_id=ami_id, owner_id=owner)
    if existing:
        ami_id = str(existing["ami_id"])
        why = f"{ami_id} has this content already and is verified: it is used, not baked."
        return Forecast(outcome="adopt", why=why, ami_id=ami_id)
    if recipe is None:
        why = "whether an AMI is baked shows once all inputs are known; no forecast until then."
        return Forecast(outcome="unknown", why=why)
    start = None
    if site.incremental and not touches(unknown, "site.incremental"):
        start = _find_start(recipe, site, lineage, aws)
    earlier, price = find_prospects(site, lineage, aws, unknown=unknown)
    why = "no AMI has this content yet: one is baked."
    return forecast_bake(
        find_web_sizes(recipe), site, why, start=start, earlier=earlier, price=price
    )


def _find_start(recipe: ResolvedRecipe, site: BuildSite, lineage: Lineage, aws: Aws) -> Start | str:
    """As the bake will decide by what is there then; a look that fails refuses no preview."""
    from ami_provider.starting import consider_start  # Only few need it, and all that it loads.

    try:
        return consider_start(recipe, site, lineage, aws)
    except BakeError as error:
        return f"whether it starts from an earlier AMI is not known: {error.brief}"
