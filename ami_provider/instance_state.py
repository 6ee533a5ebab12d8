"""Whether one EC2 machine runs, is still coming up, or is gone."""

from __future__ import annotations

from ami_provider.aws import Aws
from ami_provider.errors import is_not_found, is_transient

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
        found = aws.ec2.describe_instances(InstanceIds=[machine_id])["Reservations"]
    except Exception as error:
        if is_not_found(error) or is_transient(error):
            return False
        raise
    for machine in (m for reservation in found for m in reservation["Instances"]):
        state = machine["State"]["Name"]
        if state in GONE:
            reason = machine.get("StateReason", {}).get("Message", "")
            raise MachineLostError(machine_id, reason or state)
        return state == "running"
    return False
