"""Runs steps on a machine: delivered into its memory, once each, explained when they fail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

from ami_provider import parameters
from ami_provider.course import VERIFY, Stage, Step, get_extra_name
from ami_provider.delivery import deliver
from ami_provider.errors import StepError
from ami_provider.failures import find_failure
from ami_provider.job import Job
from ami_provider.launch import has_gpu
from ami_provider.logs import read_logs, save_logs
from ami_provider.machines import Machine
from ami_provider.redaction import redact
from ami_provider.site import Timeouts
from ami_provider.step_commands import Order, StepReply, run_steps

SITE = "steps/site.parameters"
LOG_LINES = 25
"""Last lines of a failed step's log that its error shows."""


def deliver_steps(job: Job, machine: Machine) -> dict[str, bytes]:
    """Put the scripts and their parameters into the machine's memory; gives what was put."""
    files = {f"steps/{name}": text.encode() for name, text in read_scripts(job).items()}
    files |= parameters.list_files(
        job.recipe,
        region=job.site.region,
        fingerprint=job.fingerprint,
        gpu=has_gpu(job.aws, machine.instance_type),
        start=machine.start.ami_id if machine.start else None,
    )
    files[SITE] = parameters.render_site(job.site, folder=f"{job.ami_name}/{machine.id}")
    deliver(job.aws, machine.id, files)
    return files


def read_scripts(job: Job) -> dict[str, str]:
    """Every file of `steps/`, and the recipe's extra steps as numbered scripts beside them."""
    scripts = read_own_scripts()
    for number, step in enumerate(job.recipe.extra_steps, 1):
        scripts[f"{get_extra_name(number, step)}.sh"] = step.script
    return scripts


def read_own_scripts() -> dict[str, str]:
    """Every file of `steps/` by name."""
    folder = resources.files("ami_provider") / "steps"
    return {
        f.name: f.read_text(encoding="utf-8")
        for f in folder.iterdir()
        if f.name.endswith((".sh", ".txt"))
    }


def run_stage(
    job: Job,
    machine: Machine,
    stage: Stage,
    files: dict[str, bytes],
    *,
    expected_s: float | None = None,
) -> dict[str, StepReply]:
    """Run a stage's chains beside each other; all have ended when a failure is told.

    Gives each step's reply by its name. `expected_s` is about how long the longest chain takes.
    """
    with ThreadPoolExecutor(len(stage.chains)) as pool:
        running = [
            pool.submit(_run, job, machine, chain, files, expected_s) for chain in stage.chains
        ]
    replies = {step: reply for future in running for step, reply in future.result().items()}
    for lost in dict.fromkeys(reply.log_lost for reply in replies.values() if reply.log_lost):
        if (text := f"the logs are not kept in S3: {lost}") not in job.stages.warnings:
            job.stages.warn(text)
    failed = [(step, reply) for step, reply in replies.items() if not reply.ok]
    if failed or job.site.debug:
        logs = read_logs(job, machine)
        if job.site.debug:
            for step in replies:
                job.stages.announce(f"{step.name}:\n{logs.get(step.name, '(no output)')}")
        if failed:
            raise explain_steps(job, machine, failed, logs)
    return {step.name: reply for step, reply in replies.items()}


def _run(
    job: Job,
    machine: Machine,
    chain: Sequence[Step],
    files: dict[str, bytes],
    expected_s: float | None,
) -> dict[Step, StepReply]:
    """Those that were begun; only the last can have failed."""
    limits = job.site.timeouts
    orders = [
        Order(step.name, get_key(step.name, files), _limit(limits, step) * 60) for step in chain
    ]
    replies = run_steps(job.aws, machine.id, orders, expected_s=expected_s, debug=job.site.debug)
    return dict(zip(chain, replies, strict=False))


def get_key(step: str, files: dict[str, bytes]) -> str:
    """What a step's outcome depends on: the scripts and their parameters, in 32 hex digits.

    Of what is only for this machine (`SITE`), nothing but verification does.
    """
    script = f"steps/{step}.sh"
    names = {script, "steps/lib.sh"} | {name for name in files if "/" not in name}
    # And the scripts beside it that it names.
    text = files.get(script, b"")
    names |= {n for n in files if n.endswith(".sh") and n.removeprefix("steps/").encode() in text}
    if step == VERIFY.name:
        names = set(files)
    content = hashlib.sha256()
    for name in sorted(names & files.keys()):
        content.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return content.hexdigest()[:32]


def explain_steps(
    job: Job, machine: Machine, failed: Sequence[tuple[Step, StepReply]], logs: Mapping[str, str]
) -> StepError:
    """The error for what failed in one stage, its cause and remedy from the first that is known.

    It has the end of each log and says where all of it is: in S3, or in a file made here.
    """
    texts = {step: logs.get(step.name) or redact(reply.reply.output) for step, reply in failed}
    known = {step: find_failure(text) for step, text in texts.items()}
    first = next((step for step in texts if known[step]), failed[0][0])
    details = []
    for step, reply in sorted(failed, key=lambda one: one[0] is not first):
        if found := known[step]:
            details.append(found.evidence)
        details.append(f"{step.name} on {machine}: {reply.reply.status}, "
                       f"exit code {reply.reply.exit_code}")  # fmt: skip
        details += texts[step].strip().splitlines()[-LOG_LINES:] or ["(no output)"]
        if reply.log:
            details.append(f"The whole log: {reply.log}")
    if not all(reply.log for _, reply in failed) and logs:
        details.append(f"The whole log of every step: {save_logs(job, machine, logs)}")
    cause = known[first]
    if cause is None:
        return StepError(
            f"could not {first.what}",
            "\n".join(details),
            "The log above is the step's own. Correct its cause, then run `pulumi up` again; with "
            "on_failure: keep the builder stays for a look.",
        )
    brief = f"could not {first.what}: {cause.failure.cause}"
    return StepError(brief, "\n".join(details), cause.failure.remedy)


def _limit(timeouts: Timeouts, step: Step) -> int:
    """Minutes for a step."""
    limits: dict[str, int] = timeouts.model_dump()
    return limits[step.limit]
