"""Runs steps on a machine: delivered into its memory, once each, explained when they fail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources

from ami_provider import parameters
from ami_provider.commands import STATE, StepReply, deliver, read_file, run_step
from ami_provider.errors import BakeError
from ami_provider.failures import find_failure
from ami_provider.job import Job
from ami_provider.launch import has_gpu
from ami_provider.machines import Machine
from ami_provider.recipe import ExtraStep
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


def deliver_steps(job: Job, machine: Machine) -> dict[str, bytes]:
    """Put the scripts and their parameters into the machine's memory; gives what was put."""
    files = {f"steps/{name}": text.encode() for name, text in read_scripts(job).items()}
    files |= parameters.list_files(
        job.recipe,
        region=job.site.region,
        fingerprint=job.fingerprint,
        gpu=has_gpu(job.aws, machine.instance_type),
        smoke_command=job.site.smoke_command,
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
        scripts[f"{get_extra_name(number, step)}.sh"] = step.script
    return scripts


def get_extra_name(number: int, step: ExtraStep) -> str:
    """The script's name on the machine: it runs after the agent's settings, before the checks."""
    return f"60-{number:02}-{step.name}"


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
