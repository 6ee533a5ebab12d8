"""Runs the steps on a builder: which scripts, in which order, with which time-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ami_provider import waiting
from ami_provider.course import MODELS, PULL, QUIESCE, Step, expect, get_sizes, list_stages
from ami_provider.job import Job
from ami_provider.machines import Machine, set_step
from ami_provider.running import deliver_steps, run_together
from ami_provider.traffic import tell_bytes

NOTED_S = 10.0
"""Least seconds between two notes of how far it is: what is quicker is soon run again."""


def provision(job: Job, machine: Machine) -> dict[str, Any]:
    """Run every step on the builder; what they told, by step name (empty where they told nothing).

    May be repeated on the same machine: a step that ended well is not run again.
    Raises `BakeError` for a step that failed, `MachineLostError` when the machine went away.
    """
    files = deliver_steps(job, machine)
    told: dict[str, Any] = {}
    noted = waiting.now()
    sizes = get_sizes(job.recipe, job.site)
    for stage in list_stages(job.recipe, verify=False):
        if not (steps := stage.steps):
            continue
        expected = expect(stage.key, sizes)
        with job.stages.stage(stage.what, expected_s=expected):
            with tell_bytes(job, machine, get_download_bytes(job, steps)):
                replies = run_together(job, machine, steps, files, expected_s=expected)
            told |= {step.name: reply.result for step, reply in zip(steps, replies, strict=True)}
        if QUIESCE in steps or waiting.now() >= noted + NOTED_S:
            set_step(job, machine, steps[-1].name)
            noted = waiting.now()
    return told


def get_download_bytes(job: Job, stage: Sequence[Step]) -> int:
    """Bytes that a stage fetches at most, as far as sizes are known."""
    images = sum(image.size_bytes or 0 for image in job.recipe.images) if PULL in stage else 0
    models = sum(model.size_bytes or 0 for model in job.recipe.models) if MODELS in stage else 0
    return images + models
