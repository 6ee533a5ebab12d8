"""Whether one EC2 machine runs, is still coming up, or is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error, is_transient
from ami_provider.waiting import NoAnswerError
from ami_provider.watching import get_watch

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

GONE = ("shutting-down", "terminated", "stopping", "stopped")


class MachineLostError(Exception):
    """The machine ended under the bake: an interruption, its own timer, or somebody's hand."""

    def __init__(self, machine_id: str, reason: str) -> None:
        super().__init__(f"{machine_id} is gone: {reason}")
        self.machine_id = machine_id
        self.reason = reason


def is_running(aws: Aws, machine_id: str) -> bool:
    """Whether EC2 says so; raises `MachineLostError` when the machine has ended instead.

    False also where EC2 does not know: a machine that was just made may not be found for a moment.
    """
    try:
        return look_at_state(aws, machine_id)
    except NoAnswerError:
        return False


def look_at_state(aws: Aws, machine_id: str) -> bool:
    """As `is_running`, for a wait: raises `NoAnswerError` while AWS does not answer."""
    watch = get_watch(aws, "machines", _describe)
    try:
        machine = watch.look(machine_id)
    except Exception as error:
        if is_transient(error):
            raise NoAnswerError(error) from error
        if not is_aws_error(error):
            raise
        raise bake_error(
            error, f"could not look at {machine_id}", "ec2:DescribeInstances"
        ) from error
    if machine is None:
        return False
    state = machine["State"]["Name"]
    if state in GONE:
        watch.forget(machine_id)
        reason = machine.get("StateReason", {}).get("Message", "")
        raise MachineLostError(machine_id, reason or state)
    return state == "running"


def _describe(aws: Aws, ids: Sequence[str]) -> dict[str, InstanceTypeDef]:
    """By filter: an ID that EC2 does not know yet is left out, and does not fail the others."""
    found = aws.ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": list(ids)}])
    return {m["InstanceId"]: m for r in found["Reservations"] for m in r["Instances"]}
