"""Recipe -> resolved recipe, at preview: everything is looked up and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

from ami_provider.aws import Aws
from ami_provider.contents import find_clashes
from ami_provider.faults import Fault, FaultsError
from ami_provider.fingerprint import fingerprint
from ami_provider.lookups.asking import Question, ask_all
from ami_provider.lookups.base import find_family, get_base, get_newest_id
from ami_provider.lookups.existing import find_twin_base
from ami_provider.lookups.expiry import find_expiry
from ami_provider.lookups.images import get_image
from ami_provider.lookups.key import check_key
from ami_provider.lookups.models import check_http, find_questions
from ami_provider.lookups.site import find_machine_faults, find_site_faults
from ami_provider.recipe import BaseUpdate, ImageRecipe
from ami_provider.resolved import ResolvedBase, ResolvedImage, ResolvedModel, ResolvedRecipe
from ami_provider.site import BuildSite
from ami_provider.unknowns import touches
from ami_provider.volume import find_volume_faults, find_volume_note


@dataclass(frozen=True)
class Resolution:
    """What the look-ups found. `recipe` is None while an input of it is not known yet.

    `notes` are for the reader and refuse nothing.
    """

    recipe: ResolvedRecipe | None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str | None:
        return fingerprint(self.recipe.manifest()) if self.recipe else None


def resolve(
    recipe: ImageRecipe,
    aws: Aws,
    *,
    policy: BaseUpdate = "with-content",
    kept: ResolvedRecipe | None = None,
    unknown: frozenset[str] = frozenset(),
) -> Resolution:
    """Look everything up, 16 questions at a time.

    `kept` is what the resource has now: its base AMI stays under `with-content` while nothing else
    changed, and under `never` whatever changed. `unknown` has the paths (`recipe.images[0]`) of
    inputs not known yet; they are left out. Raises `FaultsError` with everything that is wrong.
    """
    keeps = kept.base if kept and kept.base.source == recipe.base.source else None
    listing: list[Question[object]] = [
        partial(find_questions, model, f"recipe.models[{i}]", aws)
        for i, model in enumerate(recipe.models)
        if not touches(unknown, f"recipe.models[{i}]")
    ]
    others: list[Question[object]] = [
        partial(get_image, image, f"recipe.images[{i}]", aws)
        for i, image in enumerate(recipe.images)
        if not touches(unknown, f"recipe.images[{i}]")
    ]
    # What a prefix holds is asked beside all that does not wait for it.
    base: Question[object] = partial(_ask_base, recipe, aws, policy, keeps, unknown)
    answers, found = ask_all([*listing, base, *others])
    listed = cast("list[list[Question[ResolvedModel]] | None]", answers[: len(listing)])
    models, more = ask_all([question for group in listed for question in group or ()])
    files = [model for model in models if model]
    faults = [*found, *more, *_listed_clashes(files)]
    if faults:
        raise FaultsError(faults)
    if any(path.startswith("recipe") for path in unknown):
        return Resolution(None)
    newest = cast("str | None", answers[len(listing)])
    images = [a for a in answers if isinstance(a, ResolvedImage)]
    return _with_base(recipe, images, files, aws, policy, kept, keeps, newest)


def _ask_base(
    recipe: ImageRecipe,
    aws: Aws,
    policy: BaseUpdate,
    keeps: ResolvedBase | None,
    unknown: frozenset[str],
) -> str | None:
    if touches(unknown, "recipe.base"):
        return None
    try:
        return get_newest_id(recipe.base, aws)
    except FaultsError:
        if keeps and policy == "never":
            return keeps.ami_id  # It was only to be told of.
        raise


def _with_base(
    recipe: ImageRecipe,
    images: list[ResolvedImage],
    models: list[ResolvedModel],
    aws: Aws,
    policy: BaseUpdate,
    kept: ResolvedRecipe | None,
    keeps: ResolvedBase | None,
    newest: str | None,
) -> Resolution:
    """The base AMI is settled last: whether it may stay depends on everything else."""

    def build(base: ResolvedBase) -> ResolvedRecipe:
        return ResolvedRecipe(
            base=base,
            images=tuple(images),
            models=tuple(sorted(models, key=lambda m: m.destination)),
            extra_steps=recipe.extra_steps,
            agent=recipe.agent,
            system_update=recipe.system_update,
            root_volume=recipe.root_volume,
            encryption_key=recipe.encryption_key,
        )

    assert newest is not None
    if keeps and newest == keeps.ami_id:
        return Resolution(build(keeps))
    if keeps and policy == "never":
        return Resolution(build(keeps), (_newer(newest, keeps.ami_id, policy),))
    if keeps and kept and policy == "with-content":
        same = build(keeps)
        if same.manifest() == kept.manifest():
            return Resolution(same, (_newer(newest, keeps.ami_id, policy),))
    fresh = build(get_base(recipe.base, newest, aws))
    if policy != "with-content":
        return Resolution(fresh)
    twin = find_twin_base(fresh, aws)
    if twin in (None, newest):
        return Resolution(fresh)
    try:
        return Resolution(build(get_base(recipe.base, twin, aws)), (_newer(newest, twin, policy),))
    except FaultsError:
        return Resolution(fresh)  # AWS has withdrawn the older base AMI.


def _newer(newest: str, used: str, policy: BaseUpdate) -> str:
    out = f"a newer base AMI is out: {newest} (this image has {used})."
    if policy == "never":
        return (
            f"{out} It stays out with base_update=never; with-content takes it with the next "
            f"change of content, always takes it now."
        )
    return f"{out} It comes with the next change of content; base_update=always takes it now."


def _listed_clashes(models: Iterable[ResolvedModel]) -> list[Fault]:
    files = list(models)
    clashes = find_clashes([(m.source, m.destination, False) for m in files])
    return [Fault("recipe.models", f"{files[i].source}: {why}") for i, why in clashes]


def find_bake_faults(
    recipe: ImageRecipe,
    resolved: ResolvedRecipe | None,
    site: BuildSite,
    aws: Aws,
    *,
    unknown: frozenset[str] = frozenset(),
    bakes: bool = True,
) -> list[Fault]:
    """What a bake would fail on, beyond the recipe: asked only where one is coming.

    `bakes` is False where an AMI is adopted: no machine and no disk is needed then.
    """
    questions: list[Question[object]] = [
        partial(check_http, model, f"recipe.models[{i}]")
        for i, model in enumerate(recipe.models)
        if model.is_http and not touches(unknown, f"recipe.models[{i}]")
    ]
    if recipe.encryption_key:
        questions.append(partial(check_key, recipe.encryption_key, aws))
    _, faults = ask_all(questions)
    faults += find_site_faults(site, aws, unknown=unknown)
    if not bakes:
        return faults
    family = resolved.base.family if resolved else None
    if not family and not touches(unknown, "recipe.base"):
        # By what was asked for, an alias say, where the rest of the recipe cannot be resolved.
        family = recipe.base.family or find_family(recipe.base, "")
    if family:
        faults += find_machine_faults(site, family)
    if resolved:
        faults += [Fault("recipe.root_volume.size_gib", r) for r in find_volume_faults(resolved)]
    return faults


def find_bake_notes(
    recipe: ImageRecipe,
    aws: Aws,
    *,
    resolved: ResolvedRecipe | None = None,
    unknown: frozenset[str] = frozenset(),
) -> list[str]:
    """What a bake will not fail on, but its reader should know."""
    questions = [
        partial(find_expiry, image, aws)
        for i, image in enumerate(recipe.images)
        if not touches(unknown, f"recipe.images[{i}]")
    ]
    told, _ = ask_all(questions)
    spacious = find_volume_note(resolved) if resolved else None
    return [note for notes in told for note in notes or ()] + ([spacious] if spacious else [])
