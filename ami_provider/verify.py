"""Boots a machine from a new AMI and checks it there, before anyone else may use it."""

from __future__ import annotations

from ami_provider import tags
from ami_provider.cleaning import end_afterwards
from ami_provider.course import BOOT, CHECK, LAUNCH_VERIFIER, expect, get_sizes
from ami_provider.errors import BakeError, StepError
from ami_provider.image_state import Image, get_state, set_tags
from ami_provider.instance_state import MachineLostError
from ami_provider.job import Job
from ami_provider.launch import list_choices
from ami_provider.launching import launch_machine, list_fresh_first
from ami_provider.machines import Machine, find_machine, wait_until_ready
from ami_provider.running import deliver_steps, run_stage
from ami_provider.starting import NotAsFromScratchError, find_start, refuse

GRACE_MIN = 15


def verify(job: Job, image: Image) -> None:
    """Check the AMI on a machine of its own and mark it verified; the machine is always ended.

    Where that is off, it is marked so, but for one of an incremental bake, which another run with
    other settings may have begun.

    Raises `BakeError` when the AMI is wrong or cannot be checked, `NotAsFromScratchError` when one
    of an incremental bake is wrong: the caller must not keep it.
    """
    if job.site.verify == "off" and not find_start(image):
        set_tags(job.aws, (image.id,), {tags.VERIFIED: tags.VERIFIED_OFF})
        return
    chosen = job.site.verify not in ("on", "off")
    types = (job.site.verify,) if chosen else job.site.instance_types
    lost: list[Machine] = []
    while list_fresh_first(list_choices(job.site, types), lost):
        try:
            _verify_once(job, image, types, lost)
            return
        except MachineLostError as error:
            if _was_verified_by_another(job, image):
                return
            job.note(f"{error}; next choice")
    raise BakeError(
        f"the AMI {image.id} could not be checked: every machine was taken away",
        "\n".join(job.attempts),
        "Use on-demand machines, which are not taken away (capacity: on-demand).",
    )


def _was_verified_by_another(job: Job, image: Image) -> bool:
    """Whether another run has checked the AMI meanwhile, and ended the machine."""
    found = get_state(job.aws, image.id)
    if found is None and find_start(image):
        job.refused.append(find_start(image))
        raise NotAsFromScratchError(f"another run refused {image.id}: a full bake follows")
    if found is None:
        raise BakeError(
            f"the AMI {image.id} is gone: another run refused it, or somebody deregistered it",
            "",
            "Run `pulumi up` again.",
        )
    return found.verified == tags.VERIFIED_YES


def _verify_once(job: Job, image: Image, types: tuple[str, ...], lost: list[Machine]) -> None:
    sizes = get_sizes(job.recipe, job.site)
    with job.stages.stage(LAUNCH_VERIFIER.what, expected_s=expect(LAUNCH_VERIFIER.key, sizes)):
        machine = find_machine(job, "verifier", image.id) or launch_machine(
            job,
            "verifier",
            image_id=image.id,
            types=types,
            minutes=job.site.timeouts.ready + GRACE_MIN,
            lost=lost,
        )
    lost.append(machine)  # Unless it gets to the end.
    with end_afterwards(job, machine, "verifier"):
        booted = expect(BOOT.key, sizes)
        with job.stages.stage(BOOT.what, expected_s=booted):
            wait_until_ready(job, machine, expected_s=booted)
        checked = expect(CHECK.key, sizes)
        with job.stages.stage(CHECK.what, expected_s=checked):
            files = deliver_steps(job, machine)
            try:
                run_stage(job, machine, CHECK, files, expected_s=checked)
            except BakeError as error:
                error.brief = f"the AMI {image.id} is refused: {error.brief}"
                if isinstance(error, StepError) and find_start(image):
                    raise refuse(job, find_start(image), error) from error
                raise
        # Before the machine ends: another client that loses sight of it then sees this.
        set_tags(job.aws, (image.id,), {tags.VERIFIED: tags.VERIFIED_YES})
