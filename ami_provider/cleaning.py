"""Takes back what a bake made: machines, AMIs, snapshots. Never hides the first failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ami_provider import tags
from ami_provider.errors import BakeError, StepError, lacks_credentials
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image, get_state
from ami_provider.images import ImagePendingError
from ami_provider.instance_state import MachineLostError
from ami_provider.job import Job
from ami_provider.machines import Machine, note_on_machine, stop_machine, terminate_machine
from ami_provider.step_commands import Order, run_steps

KEPT_HOURS = 4
"""How long a builder that `on_failure: keep` left running stays, unless somebody ends it."""


@contextmanager
def end_afterwards(job: Job, machine: Machine, role: tags.Role = "builder") -> Iterator[None]:
    """The machine is terminated at the end, whatever happened; `on_failure: keep` keeps it then.

    Without credentials nothing can be ended: the machine goes on until its own timer, and the next
    run goes on with it.
    """
    try:
        yield
    except MachineLostError as error:
        job.attempts.append(f"{role} {machine} in {machine.subnet_id}: lost: {error.reason}")
        _quietly(job, None, lambda: terminate_machine(job, machine.id))
        raise
    except Exception as error:
        if lacks_credentials(error):
            _leave(machine, error)
        elif job.site.on_failure == "keep" and isinstance(error, BakeError):
            _keep(job, machine, role, error)
        else:
            failure = error
            _quietly(job, error, lambda: _end_failed(job, machine, failure))
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
        if lacks_credentials(error):
            raise
        _quietly(job, error, lambda: _remove(job, image))
        raise


def _remove(job: Job, image: Image) -> None:
    try:
        found = get_state(job.aws, image.id)
        if found is None or not tags.find_owners(found.tags):
            delete_image(job.aws, found or image)
    except BakeError as error:
        error.brief = f"the AMI {image.id} is left, the next `pulumi up` takes it: {error.brief}"
        raise


def _quietly(job: Job, first: Exception | None, clean: Callable[[], object]) -> None:
    """Clean up; if that fails too, say so beside the first failure, not instead of it."""
    try:
        clean()
    except Exception as second:
        job.stages.warn(f"could not clean up: {second}")
        if isinstance(first, BakeError):
            first.details += f"\nAnd then the clean-up failed: {second}"
        elif first is not None:
            first.add_note(f"And then the clean-up failed: {second}")


def _end_failed(job: Job, machine: Machine, error: Exception) -> None:
    """End it, and let another client that works on it know why: it would fail in the same way."""
    if isinstance(error, StepError):
        why = {tags.FAILED: error.brief[:256]}
        _quietly(job, None, lambda: note_on_machine(job, machine.id, why))
    terminate_machine(job, machine.id)


def _leave(machine: Machine, error: Exception) -> None:
    told = (
        f"The machine {machine} was left as it is: sign in again and run `pulumi up`, which goes "
        "on with it. If nobody comes back, it ends by itself."
    )
    if isinstance(error, BakeError):
        error.resolution += f"\n{told}"
    else:
        error.add_note(told)


def _keep(job: Job, machine: Machine, role: tags.Role, error: BakeError) -> None:
    """Leave it for a look: a spot machine runs on for some hours, an on-demand one is stopped."""
    stopped = machine.market == "on-demand"
    step = "keep-stopped" if stopped else "keep"
    order = Order(step, key=step, timeout_s=KEPT_HOURS * 3600)
    _quietly(job, error, lambda: run_steps(job.aws, machine.id, [order]))
    noted = {tags.KEPT: "yes"} | ({tags.ROLE: "kept"} if stopped else {})
    _quietly(job, error, lambda: note_on_machine(job, machine.id, noted))
    if stopped:
        _quietly(job, error, lambda: stop_machine(job, machine.id))
    where = f"--region {job.site.region}"
    enter = f"aws ssm start-session {where} --target {machine.id}"
    end = f"aws ec2 terminate-instances {where} --instance-ids {machine.id}"
    if stopped:
        start = f"aws ec2 start-instances {where} --instance-ids {machine.id}"
        told = (
            f"The machine {machine} is kept, stopped: only its disk costs. To get in: {start} and "
            f"then {enter}. Its logs are in /var/log/baked-ami. {KEPT_HOURS} h after a start it "
            f"ends by itself. To end it: {end}. The next `pulumi up` takes a new one."
        )
    else:
        told = (
            f"The machine {machine} is kept for {KEPT_HOURS} h, its logs are in "
            f"/run/baked-ami/log. To get in: {enter}. To end it: {end}."
        )
        told += " The next `pulumi up` continues on it." if role == "builder" else ""
    error.resolution += f"\n{told}"
