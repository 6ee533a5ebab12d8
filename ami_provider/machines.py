"""EC2 machines of a bake: found by tag, waited for, ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ami_provider import launch, tags, waiting
from ami_provider.errors import BakeError, bake_error, is_aws_error, is_not_found, is_transient
from ami_provider.instance_state import is_running, look_at_state
from ami_provider.job import Job, Start

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

ALIVE = ("pending", "running")

UP_FIRST_S = 1.5
"""Shortest pause while a machine comes up. EC2 takes 5-17 s to `running`, the agent 3-23 s more."""


@dataclass(frozen=True)
class Machine:
    """A machine of this bake. `step` is the last stage that its tag says is finished.

    `start` is what its own tags say: whoever works on it goes by that, whatever it would choose.
    """

    id: str
    instance_type: str
    market: str
    step: str = ""
    subnet_id: str = ""
    start: Start | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.instance_type}, {self.market})"


def find_machine(job: Job, role: tags.Role, image_id: str | None = None) -> Machine | None:
    """The machine of this fingerprint that an earlier or another run left working, if any.

    With `image_id`, only one that was booted from that AMI.
    """
    found = [m for m in find_machines(job, role) if image_id in (None, m.get("ImageId"))]
    found.sort(key=lambda m: (m["State"]["Name"] != "running", m["InstanceId"]))
    return to_machine(found[0]) if found else None


def find_machines(job: Job, *roles: tags.Role) -> list[InstanceTypeDef]:
    """Every machine of this fingerprint and these roles that is up or coming up."""
    return [m for m in describe_machines(job, *roles) if m["State"]["Name"] in ALIVE]


def find_machine_tags(job: Job, machine_id: str, role: tags.Role) -> dict[str, str]:
    """The tags of one machine of this bake, which may be gone; empty if EC2 forgot it."""
    for machine in describe_machines(job, role):
        if machine["InstanceId"] == machine_id:
            return tags.to_mapping(machine.get("Tags"))
    return {}


def wait_until_ready(job: Job, machine: Machine, *, expected_s: float | None = None) -> None:
    """Wait until the machine runs and its SSM agent answers.

    Raises `MachineLostError` when it ended instead, `BakeError` after the site's `ready` minutes.
    """
    running = False

    def look() -> bool | None:
        nonlocal running
        if not running:
            running = look_at_state(job.aws, machine.id)
            if not running:
                return None
        return launch.is_online(job.aws, machine.id) or None

    try:
        waiting.wait_until(
            look,
            timeout_s=job.site.timeouts.ready * 60,
            first_s=UP_FIRST_S,
            expected_s=expected_s,
        )
    except waiting.WaitTimeoutError as error:
        is_running(job.aws, machine.id)  # Raises if it is gone.
        if error.cause:
            action = "ssm:DescribeInstanceInformation" if running else "ec2:DescribeInstances"
            raise bake_error(error.cause, f"lost sight of {machine}", action) from None
        state = "runs, but its SSM agent does not answer" if running else "does not start"
        raise BakeError(
            f"the machine {machine} {state}",
            f"Waited {job.site.timeouts.ready} min.",
            "Check that its role has AmazonSSMManagedInstanceCore, and that its subnet and "
            "security group let 443 out (an internet gateway and a public address, NAT, or "
            "endpoints for ssm, ssmmessages and ec2messages).",
        ) from None


def set_step(job: Job, machine: Machine, step: str) -> None:
    """Note on the machine's tag how far it got. Only a note: the machine itself knows best."""
    note_on_machine(job, machine.id, {tags.STEP: step})


def note_on_machine(job: Job, machine_id: str, notes: dict[str, str]) -> None:
    """Write tags onto a machine; a fault that passes leaves them unwritten."""
    try:
        job.aws.ec2.create_tags(Resources=[machine_id], Tags=tags.to_list(notes))
    except Exception as error:
        if not (is_transient(error) or is_not_found(error)):
            raise bake_error(error, f"could not tag {machine_id}", "ec2:CreateTags") from error


def stop_machine(job: Job, machine_id: str) -> None:
    """Stop an on-demand machine: its disk stays."""
    try:
        job.aws.ec2.stop_instances(InstanceIds=[machine_id])
    except Exception as error:
        raise bake_error(error, f"could not stop {machine_id}", "ec2:StopInstances") from error


def terminate_machine(job: Job, machine_id: str) -> None:
    """End a machine; its volume goes with it. May be repeated, also when it is gone."""
    try:
        waiting.wait_until(lambda: _terminate(job, machine_id), timeout_s=120, first_s=2.0)
    except waiting.WaitTimeoutError:
        raise BakeError(
            f"could not terminate {machine_id}",
            "AWS kept answering with faults for two minutes.",
            _say_how_to_end(job, machine_id),
        ) from None


def _terminate(job: Job, machine_id: str) -> bool | None:
    try:
        job.aws.ec2.terminate_instances(InstanceIds=[machine_id])
    except Exception as error:
        if is_not_found(error):
            return True
        if is_transient(error):
            return None
        brief, way_out = f"could not terminate {machine_id}", _say_how_to_end(job, machine_id)
        raise bake_error(error, brief, "ec2:TerminateInstances", way_out) from error
    return True


def _say_how_to_end(job: Job, machine_id: str) -> str:
    return (
        f"The machine ends by itself. To end it now: aws ec2 terminate-instances "
        f"--region {job.site.region} --instance-ids {machine_id}"
    )


def describe_machines(job: Job, *roles: tags.Role) -> Sequence[InstanceTypeDef]:
    """Every machine of this fingerprint and these roles that EC2 still knows, in any state."""
    filters = [
        {"Name": f"tag:{tags.FINGERPRINT}", "Values": [job.fingerprint]},
        {"Name": f"tag:{tags.ROLE}", "Values": list(roles)},
    ]
    try:
        pages = job.aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
        return [m for page in pages for r in page["Reservations"] for m in r["Instances"]]
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look for a builder", "ec2:DescribeInstances") from error


def to_machine(found: InstanceTypeDef) -> Machine:
    noted = tags.to_mapping(found.get("Tags"))
    market = "spot" if found.get("InstanceLifecycle") == "spot" else "on-demand"
    return Machine(
        found["InstanceId"],
        str(found.get("InstanceType", "")),
        market,
        noted.get(tags.STEP, ""),
        str(found.get("SubnetId", "")),
        _read_start(noted),
    )


def _read_start(noted: dict[str, str]) -> Start | None:
    if tags.FROM not in noted or noted.get(tags.ROLE) != "builder":
        return None
    return Start(ami_id=noted[tags.FROM], generation=int(noted.get(tags.GENERATION, "1")))
