"""A machine of a bake for a test's own use, on a cloud whose machines really run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ami_provider import tags
from ami_provider.commands import run_command
from ami_provider.fingerprint import fingerprint
from ami_provider.job import Job
from ami_provider.launching import launch_machine
from ami_provider.machines import Machine, terminate_machine, wait_until_ready
from ami_provider.resolved import ResolvedRecipe
from ami_provider.stages import Stages
from tests.ami_provider.clouds import Bakery


def create_job(bakery: Bakery, recipe: ResolvedRecipe) -> Job:
    return Job(
        recipe=recipe,
        site=bakery.site(),
        lineage=bakery.lineage(),
        fingerprint=fingerprint(recipe.manifest()),
        aws=bakery.aws,
        stages=Stages(bakery.said.append, 1),
    )


@contextmanager
def running(job: Job, role: tags.Role, image_id: str) -> Iterator[Machine]:
    types = job.site.instance_types
    machine = launch_machine(job, role, image_id=image_id, types=types, minutes=30)
    try:
        wait_until_ready(job, machine)
        yield machine
    finally:
        terminate_machine(job, machine.id)


def do(job: Job, machine: Machine, script: str) -> str:
    reply = run_command(job.aws, machine.id, script, timeout_s=600, why="a test's own")
    assert reply.status == "Success", reply.output
    return reply.output
