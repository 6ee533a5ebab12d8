"""Runs the steps on a builder: which scripts, in which order, with which time-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ami_provider.job import Job
from ami_provider.machines import Machine, set_step
from ami_provider.running import Step, deliver_steps, get_extra_name, run_together
from ami_provider.traffic import tell_bytes

QUIET_AGENT = Step("10-quiet-agent", "keep the ECS agent quiet", expected_s=2)
UPDATE = Step("20-system-update", "update the system", "update", expected_s=90)
LOGIN = Step("30-registry-login", "log in to the registry", expected_s=3)
PULL = Step("40-pull-images", "pull the images", "pull")
MODELS = Step("45-fetch-models", "fetch the models", "models")
AGENT = Step("50-agent-settings", "configure the ECS agent", expected_s=1)
GPU = Step("70-gpu-check", "check the GPU", expected_s=5)
MANIFEST = Step("80-manifest", "write the manifest")
CLEANUP = Step("90-cleanup", "clean up", expected_s=10)
QUIESCE = Step("95-quiesce", "quiesce", "image", expected_s=10)


def list_stages(job: Job) -> list[tuple[Step, ...]]:
    """The bake's steps in order; those in one tuple run beside each other."""
    extra = [
        (Step(get_extra_name(number, step), f"run the extra step {step.name}"),)
        for number, step in enumerate(job.recipe.extra_steps, 1)
    ]
    return [
        (QUIET_AGENT,),
        (UPDATE,),
        (LOGIN,),
        (PULL, MODELS) if job.recipe.models else (PULL,),
        (AGENT,),
        *extra,
        (GPU,),
        (MANIFEST,),
        (CLEANUP,),
        (QUIESCE,),
    ]


def provision(job: Job, machine: Machine) -> dict[str, Any]:
    """Run every step on the builder; what they told, by step name (empty where they told nothing).

    May be repeated on the same machine: a step that ended well is not run again.
    Raises `BakeError` for a step that failed, `MachineLostError` when the machine went away.
    """
    files = deliver_steps(job, machine)
    told: dict[str, Any] = {}
    for stage in list_stages(job):
        what = " and ".join(step.what for step in stage)
        expected = expect(job, stage)
        with job.stages.stage(what, expected_s=expected):
            with tell_bytes(job, machine, get_download_bytes(job, stage)):
                replies = run_together(job, machine, stage, files, expected_s=expected)
            told |= {step.name: reply.result for step, reply in zip(stage, replies, strict=True)}
        set_step(job, machine, stage[-1].name)
    return told


def get_download_bytes(job: Job, stage: Sequence[Step]) -> int:
    """Bytes that a stage fetches at most, as far as sizes are known."""
    images = sum(image.size_bytes or 0 for image in job.recipe.images) if PULL in stage else 0
    models = sum(model.size_bytes or 0 for model in job.recipe.models) if MODELS in stage else 0
    return images + models


def expect(job: Job, stage: Sequence[Step]) -> float | None:
    """About how many seconds a stage takes, from its sizes; None where there is nothing to go by.

    Pull: 17 GB of compressed layers took 4-6 min (60 MB/s); models: 100 MB/s, of 8 connections.
    """
    guesses = []
    for step in stage:
        if step is PULL:
            size = sum(image.size_bytes or 0 for image in job.recipe.images)
            guesses.append(5 + size / 60e6)
        elif step is MODELS:
            guesses.append(2 + sum(model.size_bytes or 0 for model in job.recipe.models) / 100e6)
        elif step.expected_s is not None:
            guesses.append(step.expected_s)
    return max(guesses, default=None)
