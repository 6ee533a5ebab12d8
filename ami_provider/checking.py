"""Inputs as they come -> inputs as they are kept: parsed, looked up, fingerprinted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ami_provider.asked import Asked, read_resolved, read_what_is_right
from ami_provider.aws import Aws, get_aws
from ami_provider.content_sizes import to_sizes
from ami_provider.faults import Fault, FaultsError
from ami_provider.fingerprint import fingerprint, whole_numbers
from ami_provider.lookups.existing import find_baked, find_shared
from ami_provider.lookups.publication import find_publication_faults
from ami_provider.properties import DERIVED, GIVEN, Props
from ami_provider.resolve import Resolution, find_bake_faults, find_bake_notes, resolve
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite
from ami_provider.unknowns import UNKNOWN

if TYPE_CHECKING:
    from ami_provider.forecast import Forecast

FOREIGN = (
    "cannot be given: {} of account {} is used, and only its owner may publish it. Take "
    "publication out, or that account out of trusted_owners."
)


@dataclass(frozen=True)
class Checked:
    """The inputs to keep, and sentences for the reader that refuse nothing.

    `forecast` is None while nothing of the content changes.
    """

    inputs: Props
    notes: tuple[str, ...] = ()
    forecast: Forecast | None = None


def check_inputs(
    olds: Mapping[str, Any],
    news: Mapping[str, Any],
    aws: Callable[[str], Aws] = get_aws,
) -> Checked:
    """Check everything and look everything up. `olds` are the inputs kept last time, or empty.

    While nothing changed only tags, objects and the base AMI's parameter are asked for; what only
    a bake needs (site, base AMI, free space) is asked when one is coming. `aws` gives a region's
    clients. Raises `FaultsError` with every fault.
    """
    given = {key: news[key] for key in GIVEN if news.get(key) is not None}
    asked, malformed = read_what_is_right(given)
    if "site.region" in asked.unknown:
        if malformed:
            raise FaultsError(malformed)
        return Checked(given | dict.fromkeys(DERIVED, UNKNOWN) | {"region": UNKNOWN})
    clients, kept = aws(asked.site.region), _kept(olds, asked.site.region)
    resolution, faults = _resolve(asked, clients, kept)
    faults, recipe = [*malformed, *faults], resolution.recipe
    bakes = resolution.fingerprint is None or resolution.fingerprint != olds.get("fingerprint")
    existing = None
    if bakes or _differs_in_place(olds, given, recipe):
        existing, found = _find_existing(asked, recipe, clients) if recipe else (None, [])
        faults += found
        faults += find_bake_faults(
            asked.recipe, recipe, asked.site, clients, unknown=asked.unknown, bakes=not existing
        )
        faults += find_publication_faults(
            asked.publication,
            asked.trusted_owners,
            asked.recipe.encryption_key,
            clients,
            unknown=asked.unknown,
            is_new_date=bakes or _date(olds) != _date(given),
        )
    if faults:
        raise FaultsError(dict.fromkeys(faults))
    inputs: Props = given | _derived(recipe, asked)
    if existing:
        inputs |= existing
    told: list[str] = []
    if bakes:
        new = None if existing else recipe
        told = find_bake_notes(asked.recipe, clients, resolved=new, unknown=asked.unknown)
    forecast = None
    if bakes:
        from ami_provider.forecasting import get_forecast  # Not loaded while nothing changes.

        forecast = get_forecast(
            recipe, existing, asked.site, asked.lineage, clients, unknown=asked.unknown
        )
    notes = (
        *resolution.notes,
        *told,
        *_warnings(recipe, asked.site, bakes),
        *(forecast.to_lines() if forecast else ()),
    )
    return Checked(inputs, notes, forecast)


def _find_existing(
    asked: Asked, recipe: ResolvedRecipe, aws: Aws
) -> tuple[Props | None, list[Fault]]:
    """The AMI that is used instead of a bake: this account's, else a trusted one's."""
    existing = find_baked(recipe, aws)
    if existing or "trusted_owners" in asked.unknown:
        return existing, []
    try:
        shared = find_shared(fingerprint(recipe.manifest()), asked.trusted_owners, aws)
    except FaultsError as error:
        return None, list(error.faults)
    if shared and asked.publication:
        return shared, [Fault("publication", FOREIGN.format(shared["ami_id"], shared["owner_id"]))]
    return shared, []


def _date(given: Mapping[str, Any]) -> Any:
    return (given.get("publication") or {}).get("deprecate_at")


def _kept(olds: Mapping[str, Any], region: str) -> ResolvedRecipe | None:
    """What the resource has now, where it was resolved in this region by a version that we read."""
    resolved = olds.get("resolved")
    if not isinstance(resolved, dict) or olds.get("region") != region:
        return None
    try:
        return read_resolved(olds)
    except FaultsError:
        return None


def _resolve(asked: Asked, aws: Aws, kept: ResolvedRecipe | None) -> tuple[Resolution, list[Fault]]:
    try:
        policy = asked.site.base_update
        found = resolve(asked.recipe, aws, policy=policy, kept=kept, unknown=asked.unknown)
    except FaultsError as error:
        return Resolution(None), list(error.faults)
    return found, []


def _differs_in_place(olds: Mapping[str, Any], given: Props, recipe: ResolvedRecipe | None) -> bool:
    """Whether the AMI that stays is updated: then its ID has to be known, or else the preview would
    show an update of everything that uses it."""
    keys = ("site", "tags", "publication", "trusted_owners", "keep", "lineage", "secret_inputs")
    images = _list_images(recipe) if recipe else olds.get("images")
    return images != olds.get("images") or any(
        whole_numbers(olds.get(key)) != whole_numbers(given.get(key)) for key in keys
    )


def _list_images(recipe: ResolvedRecipe) -> list[dict[str, str]]:
    return [
        {"repository": i.repository, "tag": i.tag or "", "digest": i.digest, "uri": i.uri}
        for i in recipe.images
    ]


def _derived(recipe: ResolvedRecipe | None, asked: Asked) -> Props:
    if recipe is None:
        return dict.fromkeys(DERIVED, UNKNOWN) | {"region": asked.site.region}
    return {
        "fingerprint": fingerprint(recipe.manifest()),
        "images": _list_images(recipe),
        "manifest": recipe.manifest(),
        "region": asked.site.region,
        # Scripts are an input already, and may be secret there: the state would show a second copy.
        "resolved": recipe.model_dump(mode="json", exclude_none=True, exclude={"extra_steps"}),
        "sizes": to_sizes(recipe),
    }


def _warnings(recipe: ResolvedRecipe | None, site: BuildSite, bakes: bool) -> Iterator[str]:
    if recipe and bakes and recipe.base.family == "al2":
        yield (
            "the base AMI is Amazon Linux 2. AWS Batch takes no AL2 AMI of its own for new "
            "environments since 2026-06-30, and AL2 gets no more updates; al2023-gpu is the way on."
        )
    if bakes and site.verify == "off":
        yield (
            "verification is off (site.verify): the AMI is given out without having been booted "
            "and checked."
        )
