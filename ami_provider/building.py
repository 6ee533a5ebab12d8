"""Makes the AMI that is not there yet: a builder, the steps on it, its image; again where lost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ami_provider import records, tags
from ami_provider.checksums import to_tags
from ami_provider.cleaning import end_afterwards, remove_unless_good
from ami_provider.course import IMAGE, LAUNCH, MODELS, Stage, expect, get_sizes
from ami_provider.errors import BakeError, StepError
from ami_provider.image_state import Image, set_tags
from ami_provider.images import create_image, find_image, wait_until_available
from ami_provider.instance_state import MachineLostError
from ami_provider.job import Job
from ami_provider.launch import list_choices
from ami_provider.launching import list_fresh_first
from ami_provider.machines import (
    Machine,
    find_machine,
    find_machine_tags,
    find_machines,
    note_on_machine,
    terminate_machine,
    wait_until_ready,
)
from ami_provider.provision import provision
from ami_provider.starting import NotAsFromScratchError, get_basis, launch_builder

GRACE_MIN = 15
"""Minutes beyond a stage's time-out after which a builder without its owner ends itself."""

SPARE_TAGS = 10
"""Of a snapshot's 50 tags: left for tags that a user adds later."""


def build_image(job: Job) -> tuple[Image, dict[str, Any]]:
    """A builder, the steps, an available AMI; on the next choice when a builder is taken away."""
    lost: list[Machine] = []
    while list_fresh_first(list_choices(job.site, job.site.instance_types), lost):
        try:
            with ExitStack() as undo:
                return _build_once(job, lost, undo)
        except NotAsFromScratchError as error:
            lost.pop()  # It was not taken away.
            job.note(str(error))
        except MachineLostError as error:
            image = find_image(job)  # Begun in time, or by another run on the same machine.
            if image is not None:
                return take_over(job, image), {}
            _raise_if_failed_elsewhere(job, error)
            job.note(f"{error}; next choice")
    raise BakeError(
        "every builder was taken away",
        "\n".join(job.attempts),
        "Use on-demand machines (capacity: on-demand), or other types and zones.",
    )


def _build_once(job: Job, lost: list[Machine], undo: ExitStack) -> tuple[Image, dict[str, Any]]:
    ready = _expect(job, LAUNCH)
    with job.stages.stage(LAUNCH.what, expected_s=ready):
        machine = find_machine(job, "builder", job.recipe.base.ami_id if job.refused else None)
        if machine:
            done = f", which has finished {machine.step}" if machine.step else ""
            job.note(f"going on with {machine} of an earlier or another run{done}")
            job.stages.is_partial = True
            note_on_machine(job, machine.id, {tags.LINEAGE: tags.get_path(job.lineage)})
        else:
            minutes = job.site.timeouts.ready + GRACE_MIN
            machine = launch_builder(job, minutes=minutes, lost=lost)
        lost.append(machine)  # Unless it gets to the end.
        job = _go_by(job, machine)
        undo.enter_context(end_afterwards(job, machine))
        wait_until_ready(job, machine, expected_s=ready)
    told = provision(job, machine)
    expected = _expect(job, IMAGE)
    with job.stages.stage(IMAGE.what, expected_s=expected):
        computed = told.get(MODELS.name, {}).get("models", {})
        on_image = {tags.BASIS: get_basis(job.recipe)}
        on_snapshots = _list_snapshot_tags(job, computed)
        image = create_image(job, machine.id, on_snapshots, on_image=on_image)
        undo.enter_context(remove_unless_good(job, image))
        return wait_until_available(job, image, expected_s=expected), told


def _list_snapshot_tags(job: Job, computed: Mapping[str, str]) -> dict[str, str]:
    """What only the snapshots keep: computed checksums, the manifest, where the logs are."""
    sums = to_tags(job.recipe, computed)
    logs = f"{job.site.logs.rstrip('/')}/{job.ami_name}/" if job.site.logs else ""
    others = len(job.get_tags("image")) + len(sums)
    kept = records.to_tags(job.recipe.manifest(), logs=logs, others=others, spare=SPARE_TAGS)
    return sums | kept


def _go_by(job: Job, machine: Machine) -> Job:
    """The job as whoever launched this builder began it."""
    if machine.start:
        start = machine.start
        job.note(f"an incremental bake, number {start.generation} in a row: from {start.ami_id}")
        job.stages.is_partial = True  # Its times say nothing of a full one's.
        job = replace(job, start=start)
    return job


def _raise_if_failed_elsewhere(job: Job, error: MachineLostError) -> None:
    """Another run on this builder may have ended it for a failure that this run would meet too."""
    why = find_machine_tags(job, error.machine_id, "builder").get(tags.FAILED)
    if why:
        raise StepError(
            why,
            f"Another run of the same bake met this on {error.machine_id}, where this one worked "
            "too, and ended it.",
            "The other run's output has the log. Correct the cause, then run `pulumi up` again.",
        ) from None


def take_over(job: Job, image: Image) -> Image:
    """An AMI that another run made, or still makes: wait for it, and let go of its builder."""
    expected = _expect(job, IMAGE)
    with job.stages.stage(f"wait for {image.id}", expected_s=expected):
        set_tags(job.aws, (image.id,), {tags.LINEAGE: tags.get_path(job.lineage)})
        with remove_unless_good(job, image):
            image = wait_until_available(job, image, expected_s=expected)
        for builder in find_machines(job, "builder"):
            terminate_machine(job, builder["InstanceId"])
    return image


def _expect(job: Job, stage: Stage) -> float | None:
    return expect(stage.key, get_sizes(job.recipe, job.site))
