"""Inputs as they come -> inputs as they are kept: parsed, looked up, fingerprinted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ami_provider.aws import Aws, get_aws
from ami_provider.content_sizes import to_sizes
from ami_provider.contents import Frozen
from ami_provider.faults import Fault, FaultsError, Model, parse
from ami_provider.fingerprint import fingerprint, whole_numbers
from ami_provider.lookups.existing import find_baked, find_shared
from ami_provider.lookups.publication import find_publication_faults
from ami_provider.properties import DERIVED, GIVEN, Props
from ami_provider.publication import Adoption, Publication, find_contradictions
from ami_provider.recipe import ImageRecipe
from ami_provider.resolve import Resolution, find_bake_faults, find_bake_notes, resolve
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage, Retention
from ami_provider.unknowns import UNKNOWN, put_unknown, replace_unknown

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


@dataclass(frozen=True)
class Asked:
    """The inputs of one resource, parsed; `unknown` has the paths of stand-ins."""

    recipe: ImageRecipe
    site: BuildSite
    lineage: Lineage
    publication: Publication | None
    trusted_owners: tuple[str, ...]
    unknown: frozenset[str]
    keep: int = 0


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
    asked, malformed = _read_all(given)
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


def read_inputs(given: Mapping[str, Any]) -> Asked:
    """Parse everything that is given, unknown values by stand-ins. Raises `FaultsError`."""
    known, unknown = replace_unknown(whole_numbers(given))
    site = known.get("site", {})
    if isinstance(site, dict):
        site = site | {"tags": known.get("tags", {})}
    faults: list[Fault] = []
    parsed: list[Frozen | None] = [
        _parse(ImageRecipe, known.get("recipe", {}), "recipe", faults),
        _parse(BuildSite, site, "site", faults),
        _parse(Lineage, known.get("lineage", {}), "lineage", faults),
        _parse(Retention, {key: known[key] for key in ("keep",) if key in known}, "", faults),
        _parse(Publication, known.get("publication") or {}, "publication", faults),
    ]
    recipe, place, lineage, retention, published = parsed
    trusted = _parse_owners(known.get("trusted_owners") or [], faults)
    if isinstance(published, Publication) and isinstance(place, BuildSite):
        key = getattr(recipe, "encryption_key", None)
        faults += find_contradictions(
            published, region=place.region, encryption_key=key, unknown=unknown
        )
    if faults:
        raise FaultsError(faults)
    assert isinstance(recipe, ImageRecipe)
    assert isinstance(place, BuildSite)
    assert isinstance(lineage, Lineage)
    assert isinstance(retention, Retention)
    assert isinstance(published, Publication)
    publication = published if known.get("publication") else None
    return Asked(recipe, place, lineage, publication, trusted, unknown, retention.keep)


def _read_all(given: Props) -> tuple[Asked, list[Fault]]:
    """What is given, and what of it is malformed: that counts as not known yet, so that the rest
    is looked up and everything that is wrong is told in one go. Raises `FaultsError` where the
    rest alone makes no sense."""
    try:
        return read_inputs(given), []
    except FaultsError as error:
        paths = [fault.path for fault in error.faults]
        # Two that contradict each other: one alone is no better, so what holds both is left out.
        for without in (paths, [path.rpartition(".")[0] for path in paths]):
            try:
                return read_inputs(put_unknown(given, filter(None, without))), list(error.faults)
            except FaultsError:
                continue
        raise


def _parse_owners(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    try:
        return parse(Adoption, {"trusted_owners": value}).trusted_owners
    except FaultsError as error:
        faults += error.faults
        return ()


def _parse(model: type[Model], data: Any, path: str, faults: list[Fault]) -> Model | None:
    try:
        return parse(model, data, (path,))
    except FaultsError as error:
        faults += [Fault(f.path.removeprefix("site.") if f.path.startswith("site.tags") else f.path,
                         f.reason) for f in error.faults]  # fmt: skip
        return None


def _kept(olds: Mapping[str, Any], region: str) -> ResolvedRecipe | None:
    """What the resource has now, where it was resolved in this region by a version that we read."""
    resolved = olds.get("resolved")
    if not isinstance(resolved, dict) or olds.get("region") != region:
        return None
    try:
        return read_resolved(olds)
    except FaultsError:
        return None


def read_resolved(props: Mapping[str, Any]) -> ResolvedRecipe:
    """What a check has resolved, with the scripts that only the inputs have."""
    steps = (props.get("recipe") or {}).get("extra_steps") or []
    return parse(ResolvedRecipe, whole_numbers({**props["resolved"], "extra_steps": steps}))


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
    keys = ("site", "tags", "publication", "trusted_owners", "keep", "lineage")
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
