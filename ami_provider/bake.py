"""The whole bake: adopt, or builder -> provision -> image, then verify, then own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ami_provider import tags, timings, waiting
from ami_provider.abandoned import remove_abandoned
from ami_provider.aws import Aws
from ami_provider.baked import BakedImage, read_checksums, to_own_image, to_shared_image
from ami_provider.building import build_image, take_over
from ami_provider.cleaning import remove_unless_good
from ami_provider.course import list_stages
from ami_provider.errors import BakeError
from ami_provider.fingerprint import fingerprint
from ami_provider.image_removal import enable_image
from ami_provider.image_state import Image, get_state, set_tags
from ami_provider.images import find_image
from ami_provider.job import Job
from ami_provider.lookups.existing import find_shared
from ami_provider.machines import find_machines, terminate_machine
from ami_provider.ownership import claim_image, find_others
from ami_provider.renaming import move_claims
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage
from ami_provider.stages import Stages
from ami_provider.starting import NotAsFromScratchError, find_start
from ami_provider.verify import verify

__all__ = ["BakedImage", "bake"]

GIVE_UP_S = 60.0
"""How long an AMI may be disabled without being deleted, until the next create takes it."""

MOST_USER_TAGS = 30
"""With more, an AMI that several stacks own and publish has no tag to spare for timings."""

MAX_ROUNDS = 5
"""How often an AMI may be deleted by another's last owner between being found and being owned."""

Beside = Callable[[str], AbstractContextManager[None]]
"""Of an AMI's ID: what goes on while it is checked; it hears whether the check failed."""


def bake(
    recipe: ResolvedRecipe,
    site: BuildSite,
    lineage: Lineage,
    *,
    aws: Aws,
    report: Callable[[str], None],
    announce: Callable[[str], None] | None = None,
    user_tags: Mapping[str, str] | None = None,
    keep: int = 0,
    trusted_owners: tuple[str, ...] = (),
    former: Lineage | None = None,
    while_checked: Beside = lambda _image_id: nullcontext(),
) -> BakedImage:
    """Give the AMI of this recipe: an existing one of the same fingerprint, or a new one.

    One that an account of `trusted_owners` shares is used where this account has none.

    Running it again after any interruption goes on where the last run stopped, and beside another
    run it works on the same machine and gives the same AMI. After a failure nothing is left
    behind, except what `on_failure: keep` keeps and an AMI that is still being made.
    `report` shows the present step, `announce` what stays: retries and fallbacks, each once.
    `keep` is how many earlier AMIs of the lineage stay from now on; with `former`, the name that it
    had before, those of that name are its own too. `while_checked` is around the
    check of a new AMI: what it begins need not wait for that. Raises `BakeError`.
    """
    job = _create_job(recipe, site, lineage, aws, Stages(report, 0, announce), user_tags)
    with aws.telling_failures(job.stages.note_retry):
        return _bake(job, keep, trusted_owners, former or lineage, while_checked)


def _bake(
    job: Job,
    keep: int,
    trusted_owners: tuple[str, ...],
    former: Lineage,
    while_checked: Beside,
) -> BakedImage:
    site = job.site
    told: dict[str, Any] = {}
    for _ in range(MAX_ROUNDS):
        image = find_image(job)
        if image is not None and image.state == "disabled":
            _enable(job, image, keep)
            continue
        adopted = image is not None and bool(image.verified)
        if image is None and (shared := find_shared(job.fingerprint, trusted_owners, job.aws)):
            move_claims(job.aws, former, job.lineage)
            return to_shared_image(job, shared)
        if image is None:
            image, told = build_image(job)
        elif image.verified != tags.VERIFIED_YES:
            image = take_over(job, image)
        else:
            _end_machines(job)  # Of a run that died just before its end.
        checks = site.verify != "off" or find_start(image)
        try:
            with remove_unless_good(job, image):  # One that somebody owns is never removed.
                if needs_check(image, site):
                    with while_checked(image.id) if checks else nullcontext():
                        verify(job, image)
        except NotAsFromScratchError as error:
            job.note(str(error))
            continue
        checksums = read_checksums(job, image, told)
        with remove_unless_good(job, image):
            move_claims(job.aws, former, job.lineage)  # The claim has to be later than any of them.
            nonce = claim_image(job.aws, image.id, job.lineage, keep, _get_timings_tag(job))
        if nonce:
            if adopted:
                _take_over_tags(job, image)
            _remove_abandoned(job)
            return to_own_image(job, image, told, nonce, checksums, adopted=adopted)
        job.say(f"{image.id} was deleted by its last owner meanwhile; once more")
    raise BakeError(f"the AMI {job.ami_name} keeps being deleted", "", "Find out who deletes it.")


def _take_over_tags(job: Job, image: Image) -> None:
    """The user's tags as they are now, on an AMI that was baked under others: a rollback's, say.

    What is there of the same name stays where the AMI has another owner, who may have written it.
    """
    others = find_others(image, job.lineage)
    new = {
        key: value
        for key, value in job.user_tags.items()
        if image.tags.get(key) != value and not (others and key in image.tags)
    }
    try:
        if new:
            set_tags(job.aws, (image.id, *image.snapshot_ids), new)
    except BakeError as error:
        job.stages.warn(f"{image.id} is used without the tags {', '.join(sorted(new))}: {error}")


def _remove_abandoned(job: Job) -> None:
    """Of bakes of other content that this resource began. It never fails the one that is done."""
    try:
        for gone in remove_abandoned(job.aws, job.lineage, but=job.fingerprint):
            job.note(f"removed {gone}, which an earlier bake had left")
    except BakeError as error:
        job.stages.warn(f"could not remove what an earlier bake left: {error}")


def needs_check(image: Image, site: BuildSite) -> bool:
    """Whether nobody checked it yet, or somebody gave it out unchecked and this site wants more."""
    return not image.verified or (image.verified == tags.VERIFIED_OFF and site.verify != "off")


def _get_timings_tag(job: Job) -> dict[str, str]:
    """How long each stage took, where this run did all of it once and the AMI's tags have room."""
    found = timings.to_timings(job.stages.timings, job.recipe, job.site)
    if found is None or job.stages.is_partial or len(job.user_tags) > MOST_USER_TAGS:
        return {}
    return {timings.KEY: timings.to_text(found)}


def _end_machines(job: Job) -> None:
    for machine in find_machines(job, "builder", "verifier"):
        terminate_machine(job, machine["InstanceId"])


def _enable(job: Job, image: Image, keep: int) -> None:
    """Take an AMI that somebody disabled: its last owner, who is about to delete it, or a person.

    The claim comes first, and the one who deletes it looks at the claims after disabling it.
    Whoever did not finish within a minute is not at it any more.
    """

    def look() -> bool | None:
        found = get_state(job.aws, image.id)
        return None if found and found.state == "disabled" else True

    with job.stages.stage(f"wait for {image.id}, which is disabled", expected_s=GIVE_UP_S):
        claim_image(job.aws, image.id, job.lineage, keep)
        try:
            waiting.wait_until(look, timeout_s=GIVE_UP_S)
        except waiting.WaitTimeoutError:
            enable_image(job.aws, image.id)


def _create_job(
    recipe: ResolvedRecipe,
    site: BuildSite,
    lineage: Lineage,
    aws: Aws,
    stages: Stages,
    user_tags: Mapping[str, str] | None,
) -> Job:
    job = Job(
        recipe=recipe,
        site=site,
        lineage=lineage,
        fingerprint=fingerprint(recipe.manifest()),
        aws=aws,
        stages=stages,
        user_tags=user_tags or {},
    )
    stages.total = len(list_stages(recipe, verify=site.verify != "off"))
    return job
