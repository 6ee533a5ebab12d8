"""Runs the steps on a builder: which scripts, in which order, with which time-outs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ami_provider import parameters
from ami_provider.commands import STATE, StepReply, deliver, read_file, run_step
from ami_provider.errors import BakeError
from ami_provider.failures import find_failure
from ami_provider.job import Job
from ami_provider.launch import has_gpu
from ami_provider.machines import Machine, set_step
from ami_provider.site import Timeouts

LOG_LINES = 25
"""Last lines of a failed step's log that its error shows."""


@dataclass(frozen=True)
class Step:
    """One script on the machine. `limit` names its time-out in the site, `expected_s` a guess."""

    name: str
    what: str
    limit: str = "step"
    expected_s: float | None = None


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
VERIFY = Step("verify", "check the image on a machine of its own", "verify")


def list_stages(job: Job) -> list[tuple[Step, ...]]:
    """The bake's steps in order; those in one tuple run beside each other."""
    extra = [
        (Step(f"60-{number:02}-{step.name}", f"run the extra step {step.name}"),)
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
        with job.stages.stage(what, expected_s=expect(job, stage)):
            for step, reply in zip(stage, run_together(job, machine, stage, files), strict=True):
                told[step.name] = reply.result
        set_step(job, machine, stage[-1].name)
    return told


def deliver_steps(job: Job, machine: Machine) -> dict[str, bytes]:
    """Put the scripts and their parameters into the machine's memory; gives what was put."""
    files = {f"steps/{name}": text.encode() for name, text in read_scripts(job).items()}
    files |= parameters.list_files(
        job.recipe,
        region=job.site.region,
        fingerprint=job.fingerprint,
        gpu=has_gpu(job.aws, machine.instance_type),
    )
    deliver(job.aws, machine.id, files)
    return files


def read_scripts(job: Job) -> dict[str, str]:
    """Every file of `steps/`, and the recipe's extra steps as numbered scripts beside them."""
    folder = resources.files("ami_provider") / "steps"
    scripts = {
        f.name: f.read_text(encoding="utf-8")
        for f in folder.iterdir()
        if f.name.endswith((".sh", ".txt"))
    }
    for number, step in enumerate(job.recipe.extra_steps, 1):
        scripts[f"60-{number:02}-{step.name}.sh"] = step.script
    return scripts


def run_together(
    job: Job, machine: Machine, stage: Sequence[Step], files: dict[str, bytes]
) -> list[StepReply]:
    """Run the steps of one stage beside each other; all have ended when a failure is told."""
    with ThreadPoolExecutor(len(stage)) as pool:
        running = [pool.submit(_run, job, machine, step, files) for step in stage]
    return [future.result() for future in running]


def _run(job: Job, machine: Machine, step: Step, files: dict[str, bytes]) -> StepReply:
    reply = run_step(
        job.aws,
        machine.id,
        step.name,
        key=get_key(step.name, files),
        timeout_s=_limit(job.site.timeouts, step) * 60,
        debug=job.site.debug,
    )
    if not reply.ok:
        raise explain_step(job, machine, step, reply)
    if job.site.debug and reply.reply.output.strip():
        job.say(f"{step.name}:\n{read_file(job.aws, machine.id, get_log_path(step))}")
    return reply


def get_key(step: str, files: dict[str, bytes]) -> str:
    """What a step's outcome depends on: the scripts and their parameters, in 32 hex digits."""
    names = {f"steps/{step}.sh", "steps/lib.sh"} | {n for n in files if "/" not in n}
    content = hashlib.sha256()
    for name in sorted(names & files.keys()):
        content.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return content.hexdigest()[:32]


def get_log_path(step: Step) -> str:
    return f"{STATE}/log/{step.name}.log"


def explain_step(job: Job, machine: Machine, step: Step, reply: StepReply) -> BakeError:
    """The error for a failed step: its cause and remedy where known, its log's end always."""
    log = read_file(job.aws, machine.id, get_log_path(step)) or reply.reply.output
    known = find_failure(log)
    tail = "\n".join(log.strip().splitlines()[-LOG_LINES:]) or "(no output)"
    head = f"{step.name} on {machine}: {reply.reply.status}, exit code {reply.reply.exit_code}"
    if known is None:
        return BakeError(
            f"could not {step.what}",
            f"{head}\n{tail}",
            "The log above is the step's own. Correct its cause, then run `pulumi up` again; with "
            "on_failure: keep the builder stays for a look.",
        )
    return BakeError(
        f"could not {step.what}: {known.failure.cause}",
        f"{known.evidence}\n{head}\n{tail}",
        known.failure.remedy,
    )


def _limit(timeouts: Timeouts, step: Step) -> int:
    """Minutes for a step."""
    limits: dict[str, int] = timeouts.model_dump()
    return limits[step.limit]


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
