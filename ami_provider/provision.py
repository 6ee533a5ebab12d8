"""Runs the steps on a builder: which scripts, in which order, with which time-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ami_provider import waiting
from ami_provider.course import (
    MODELS,
    PULL,
    QUIESCE,
    Stage,
    Step,
    expect,
    get_sizes,
    list_builder_stages,
)
from ami_provider.errors import StepError
from ami_provider.job import Job
from ami_provider.machines import Machine, set_step
from ami_provider.running import deliver_steps, run_stage
from ami_provider.starting import refuse
from ami_provider.step_commands import StepReply
from ami_provider.traffic import tell_bytes

NOTED_S = 10.0
"""Least seconds between two notes of how far it is: what is quicker is soon run again."""
ONLY_INCREMENTAL = ("former-left", "disk-full")
"""Kinds of failure for which an incremental bake is given up, and a full one follows."""


def provision(job: Job, machine: Machine) -> dict[str, Any]:
    """Run every step on the builder; what they told, by step name (empty where they told nothing).

    May be repeated on the same machine: a step that ended well is not run again.
    Raises `BakeError` for a step that failed, `MachineLostError` when the machine went away, and
    `NotAsFromScratchError` for what only stands in the way of an incremental bake.
    """
    files = deliver_steps(job, machine)
    told: dict[str, Any] = {}
    noted = waiting.now()
    sizes = get_sizes(job.recipe, job.site)
    for stage in list_builder_stages(job.recipe, incremental=bool(job.start)):
        # What an incremental bake has to fetch, only the machine finds out.
        unknown = job.start and PULL in stage.steps
        expected = None if unknown else expect(stage.key, sizes)
        with job.stages.stage(stage.what, expected_s=expected):
            with tell_bytes(job, machine, get_download_bytes(job, stage.steps)):
                replies = _run(job, machine, stage, files, expected)
            told |= {step: reply.result for step, reply in replies.items()}
        if QUIESCE in stage.steps or waiting.now() >= noted + NOTED_S:
            set_step(job, machine, stage.steps[-1].name)
            noted = waiting.now()
    return told


def _run(
    job: Job,
    machine: Machine,
    stage: Stage,
    files: dict[str, bytes],
    expected_s: float | None,
) -> dict[str, StepReply]:
    try:
        return run_stage(job, machine, stage, files, expected_s=expected_s)
    except StepError as error:
        # What was there before stands in the way: nothing that a full bake would meet as well.
        alone = any(f"baked-ami-failure: {kind}" in error.details for kind in ONLY_INCREMENTAL)
        if job.start and alone:
            raise refuse(job, job.start.ami_id, error) from error
        raise


def get_download_bytes(job: Job, steps: Sequence[Step]) -> int:
    """Bytes that a stage fetches at most, as far as sizes are known; 0 where most are there."""
    if job.start:
        return 0
    images = job.recipe.image_bytes if PULL in steps else 0
    return images + (job.recipe.model_bytes if MODELS in steps else 0)
