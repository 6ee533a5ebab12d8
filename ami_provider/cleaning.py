"""Takes back what a bake made: machines, AMIs, snapshots. Never hides the first failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ami_provider import tags
from ami_provider.commands import run_step
from ami_provider.errors import BakeError
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image, get_state
from ami_provider.images import ImagePendingError
from ami_provider.instance_state import MachineLostError
from ami_provider.job import Job
from ami_provider.machines import Machine, terminate_machine

KEPT_HOURS = 4
"""How long a builder that `on_failure: keep` left running stays, unless somebody ends it."""


@contextmanager
def end_afterwards(job: Job, machine: Machine) -> Iterator[None]:
    """The machine is terminated at the end, whatever happened; `on_failure: keep` keeps it then."""
    try:
        yield
    except MachineLostError:
        _quietly(job, None, lambda: terminate_machine(job, machine.id))
        raise
    except Exception as error:
        if job.site.on_failure == "keep" and isinstance(error, BakeError):
            _keep(job, machine, error)
        else:
            _quietly(job, error, lambda: terminate_machine(job, machine.id))
        raise
    _quietly(job, None, lambda: terminate_machine(job, machine.id))


@contextmanager
def remove_unless_good(job: Job, image: Image) -> Iterator[None]:
    """The AMI and its snapshots are removed when this fails; never one that somebody owns.

    One that is still being made is left: the next run finds it and goes on.
    """
    try:
        yield
    except ImagePendingError:
        raise
    except Exception as error:
        _quietly(job, error, lambda: _remove(job, image))
        raise


def _remove(job: Job, image: Image) -> None:
    found = get_state(job.aws, image.id)
    if found is None or not tags.find_owners(found.tags):
        delete_image(job.aws, found or image)


def _quietly(job: Job, first: Exception | None, clean: Callable[[], None]) -> None:
    """Clean up; if that fails too, say so beside the first failure, not instead of it."""
    try:
        clean()
    except Exception as second:
        job.stages.warn(f"could not clean up: {second}")
        if isinstance(first, BakeError):
            first.details += f"\nAnd then the clean-up failed: {second}"
        elif first is not None:
            first.add_note(f"And then the clean-up failed: {second}")


def _keep(job: Job, machine: Machine, error: BakeError) -> None:
    def prolong() -> None:
        run_step(job.aws, machine.id, "keep", key="keep", timeout_s=KEPT_HOURS * 3600)

    _quietly(job, error, prolong)
    region = job.site.region
    error.resolution += (
        f"\nThe machine {machine} is kept for {KEPT_HOURS} h, its logs are in /run/baked-ami/log. "
        f"To get in: aws ssm start-session --region {region} --target {machine.id}. "
        f"To end it: aws ec2 terminate-instances --region {region} --instance-ids {machine.id}. "
        f"The next `pulumi up` continues on it."
    )
