"""What is asked for: a resource's inputs as they come, parsed, with every fault by its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ami_provider.contents import Frozen
from ami_provider.faults import Fault, FaultsError, Model, parse
from ami_provider.fingerprint import whole_numbers
from ami_provider.properties import Props
from ami_provider.publication import Adoption, Publication, find_contradictions
from ami_provider.recipe import ImageRecipe
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage, Retention
from ami_provider.unknowns import put_unknown, replace_unknown


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


def read_what_is_right(given: Props) -> tuple[Asked, list[Fault]]:
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


def read_resolved(props: Mapping[str, Any]) -> ResolvedRecipe:
    """What a check has resolved, with the scripts that only the inputs have."""
    steps = (props.get("recipe") or {}).get("extra_steps") or []
    return parse(ResolvedRecipe, whole_numbers({**props["resolved"], "extra_steps": steps}))


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
