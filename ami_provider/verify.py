"""Boots a machine from a new AMI and checks it there, before anyone else may use it."""

from __future__ import annotations

from ami_provider import tags
from ami_provider.cleaning import end_afterwards
from ami_provider.errors import BakeError
from ami_provider.image_state import Image, set_tags
from ami_provider.instance_state import MachineLostError
from ami_provider.job import Job
from ami_provider.machines import (
    find_machine,
    launch_machine,
    wait_until_ready,
)
from ami_provider.running import Step, deliver_steps, run_together

GRACE_MIN = 15
VERIFY = Step("verify", "check the AMI on a machine of its own", "verify")


def verify(job: Job, image: Image) -> None:
    """Check the AMI on a machine of its own and mark it verified; the machine is always ended.

    Raises `BakeError` when the AMI is wrong or cannot be checked: the caller must not keep it.
    """
    if job.site.verify == "off":
        set_tags(job.aws, (image.id,), {tags.VERIFIED: tags.VERIFIED_OFF})
        return
    types = job.site.instance_types if job.site.verify == "on" else (job.site.verify,)
    for lost in range(len(types) * len(job.site.subnet_ids) * 2):
        try:
            _verify_once(job, image, types, lost)
        except MachineLostError as error:
            job.say(f"{error}; once more")
            continue
        set_tags(job.aws, (image.id,), {tags.VERIFIED: tags.VERIFIED_YES})
        return
    raise BakeError(
        f"the AMI {image.id} could not be checked: every machine was taken away",
        "",
        "Use on-demand machines, which are not taken away (capacity: on-demand).",
    )


def _verify_once(job: Job, image: Image, types: tuple[str, ...], lost: int) -> None:
    with job.stages.stage("launch a machine from the AMI", expected_s=10):
        machine = find_machine(job, "verifier", image.id) or launch_machine(
            job,
            "verifier",
            image_id=image.id,
            types=types,
            minutes=job.site.timeouts.ready + GRACE_MIN,
            failed=lost,
        )
    with end_afterwards(job, machine):
        with job.stages.stage("boot it", expected_s=60):
            wait_until_ready(job, machine)
        with job.stages.stage(VERIFY.what, expected_s=60):
            files = deliver_steps(job, machine)
            try:
                run_together(job, machine, (VERIFY,), files)
            except BakeError as error:
                error.brief = f"the AMI {image.id} is refused: {error.brief}"
                raise
