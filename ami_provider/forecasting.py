"""Asks AWS what a forecast needs, only where an AMI is about to be adopted or baked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ami_provider.aws import Aws
from ami_provider.forecast import Forecast, forecast_bake
from ami_provider.lookups.prospects import find_prospects, find_web_sizes
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage


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
    earlier, price = find_prospects(site, lineage, aws, unknown=unknown)
    why = "no AMI has this content yet: one is baked."
    return forecast_bake(find_web_sizes(recipe), site, why, earlier=earlier, price=price)
