"""What a builder is booted from: the base AMI or, in an incremental bake, the lineage's last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.basis import describe_basis, find_obstacle, read_generation
from ami_provider.errors import BakeError, StepError, is_not_found
from ami_provider.image_state import Image, set_tags
from ami_provider.job import Job, Start
from ami_provider.launching import launch_machine
from ami_provider.machines import Machine
from ami_provider.ownership import list_held, read_claims
from ami_provider.resolved import ResolvedRecipe
from ami_provider.running import read_own_scripts
from ami_provider.site import BuildSite, Lineage

WRONG_LINES = 3
"""Of what verification found wrong, so many lines are told before the full bake begins."""


class NotAsFromScratchError(Exception):
    """An incremental bake came to something else than a full one would: a full one has to follow.

    No `BakeError`: nobody has to do anything about it, and no machine is kept for a look.
    """


def get_basis(recipe: ResolvedRecipe) -> str:
    """What the tag `tags.BASIS` says on an AMI that this program bakes of the recipe."""
    return describe_basis(recipe.manifest(), read_own_scripts())


def launch_builder(job: Job, *, minutes: int, lost: Iterable[Machine]) -> Machine:
    """Launch a builder from what is to be had; which it is, its own `start` says.

    It may be the one of another client that has chosen otherwise.
    """
    base, types = job.recipe.base.ami_id, job.site.instance_types
    start = choose_start(job)
    if start:
        own = replace(job, start=start)
        try:
            return launch_machine(
                own, "builder", image_id=start.ami_id, types=types, minutes=minutes, lost=lost
            )
        except BakeError as error:
            if not (error.__cause__ and is_not_found(error.__cause__)):
                raise
            job.note(f"a full bake: {start.ami_id} is gone")
    return launch_machine(job, "builder", image_id=base, types=types, minutes=minutes, lost=lost)


def choose_start(job: Job) -> Start | None:
    """The lineage's last AMI, if incremental bakes are asked for and it will do; says why not."""
    if not job.site.incremental or job.refused:
        return None
    found = consider_start(job.recipe, job.site, job.lineage, job.aws)
    if isinstance(found, Start):
        return found
    job.note(found)
    return None


def consider_start(
    recipe: ResolvedRecipe, site: BuildSite, lineage: Lineage, aws: Aws
) -> Start | str:
    """The lineage's last AMI where an incremental bake may start from it, else why none may: one
    call, which changes nothing. Raises `BakeError`."""
    held = list_held(aws, lineage)
    claims = read_claims(held, lineage)
    if not claims:
        return f"a full bake: there is no earlier AMI in {site.region} to start from"
    last = held[max(claims, key=lambda image_id: claims[image_id].turn)]
    obstacle = find_obstacle(
        last.tags,
        last.state,
        basis=get_basis(recipe),
        limit=site.incremental,
        verify=site.verify,
    )
    if obstacle:
        return f"a full bake, not one from {last.id}: {obstacle}"
    return Start(ami_id=last.id, generation=read_generation(last.tags) + 1)


def find_start(image: Image) -> str:
    """The AMI that this one was baked from incrementally; empty for one of a full bake."""
    return image.tags.get(tags.FROM, "")


def refuse(job: Job, start_id: str, error: StepError) -> NotAsFromScratchError:
    """Note on the earlier AMI that nothing can be baked from it, for any later run to see."""
    job.refused.append(start_id)
    try:
        set_tags(job.aws, (start_id,), {tags.REFUSED: job.fingerprint[:16]})
    except BakeError as failed:
        if not (failed.__cause__ and is_not_found(failed.__cause__)):
            job.stages.warn(f"could not note that on {start_id}: {failed}")
    found = [line for line in error.details.splitlines() if line.startswith("not right")]
    why = "; ".join([error.brief, *found[:WRONG_LINES]])
    return NotAsFromScratchError(
        f"the bake from {start_id} is given up ({why}): a full one follows"
    )
