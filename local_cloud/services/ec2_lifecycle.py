"""What happens to machines over time: boot, stop, terminate, power-off, a restart of ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.lifecycle import at_start, at_stop
from local_cloud.machines.contract import MachineError, MachineSpec
from local_cloud.services.ec2_disks import make_disk
from local_cloud.services.ec2_endings import SPOT_ENDED, impaired, say_why, settle
from local_cloud.services.ec2_metadata import metadata_of
from local_cloud.services.ec2_model import (
    SETTLE_S,
    Instance,
    instance_lock,
    instances,
    now,
    volumes,
)

#: What services do to a machine that was just launched, before it boots.
AT_LAUNCH: list[Callable[[Cloud, Instance], None]] = []
#: How long a machine gets to power off in order before it is cut off.
POWER_OFF_S = 30.0
USER = ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
INSIDE = (
    "Client.InstanceInitiatedShutdown",
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
)


@at_start
def take_over_machines(cloud: Cloud) -> None:
    """Serve metadata and power-offs, and bring back what ran when an earlier cloud ended.

    Machines that ran are booted again, as after a failure of their host; a one-time spot machine
    does not outlive its host and is terminated.
    """
    cloud.machines.metadata = lambda instance_id: metadata_of(cloud, instance_id)
    cloud.machines.on_power_off = lambda instance_id: powered_off(cloud, instance_id)
    for instance in list(instances(cloud).values()):
        if instance.state in ("shutting-down", "stopping"):
            ending = "terminated" if instance.state == "shutting-down" else "stopped"
            settle(cloud, instance, ending)
        elif instance.state in ("pending", "running"):
            if instance.spot == "one-time":
                say_why(instance, SPOT_ENDED)
                settle(cloud, instance, "terminated")
            else:
                instance.set_state("pending")
                _start(cloud, instance)


@at_stop
def shut_down_machines(cloud: Cloud) -> None:
    """Power off every machine in order; they stay `running` in the saved state."""
    cloud.machines.on_power_off = None
    jobs = [
        _job(cloud, one, partial(cloud.machines.shut_down, one.id, timeout_s=10.0))
        for one in list(instances(cloud).values())
        if one.state in ("pending", "running")
    ]
    for job in jobs:
        job.join()


def _job(cloud: Cloud, instance: Instance, work: Callable[[], None]) -> Any:
    def locked() -> None:
        with instance_lock(instance.id):
            work()

    return cloud.background(f"machine {instance.id}", locked)


def wait_until_settled(jobs: list[Any]) -> None:
    """Give the work a moment, so that whoever looks next mostly sees its end.

    None stands for work that takes its time as the latency profile asks: nobody waits for that.
    """
    until = time.monotonic() + SETTLE_S
    for job in jobs:
        if job is not None:
            job.join(timeout=max(0.0, until - time.monotonic()))


def boot_all(cloud: Cloud, made: list[Instance]) -> None:
    """Boot machines in the background."""
    for one in made:
        for hook in AT_LAUNCH:
            hook(cloud, one)
    wait_until_settled([_start(cloud, one) for one in made if one.state == "pending"])


def _start(cloud: Cloud, instance: Instance) -> Any:
    turn, due = instance.turn, cloud.latency.due("instance_pending")

    def work() -> None:
        if not cloud.pause(due):
            with instance_lock(instance.id):
                _boot(cloud, instance, turn)

    job = cloud.background(f"machine {instance.id}", work)
    return job if cloud.latency.is_past(due) else None


def _boot(cloud: Cloud, instance: Instance, turn: int) -> None:
    if instance.turn != turn or cloud.stopping.is_set():
        return
    try:
        for mapping in instance.view["BlockDeviceMappings"]:
            volume = volumes(cloud)[mapping["Ebs"]["VolumeId"]]
            with contextlib.suppress(KeyError):
                cloud.disks.usage(volume.id)
                continue
            make_disk(cloud, volume)
        cloud.machines.boot(_spec(instance))
    except (MachineError, OSError, KeyError) as error:
        cloud.say(f"machine {instance.id} did not start: {error}")
        say_why(instance, ("Server.InternalError", f"Server.InternalError: {error}"))
        settle(cloud, instance, "terminated")
        return
    with cloud.store.lock:
        if instance.state == "pending":
            _comes_up(cloud, instance)
            instance.set_state("running")


def _comes_up(cloud: Cloud, instance: Instance) -> None:
    """From now the agent and the status checks need the time that the latency profile gives."""
    instance.agent_after = cloud.latency.due("agent_offline")
    instance.checked_after = cloud.latency.due("status_initializing")


def _spec(instance: Instance) -> MachineSpec:
    return MachineSpec(
        instance_id=instance.id,
        instance_type=instance.view["InstanceType"],
        gpus=instance.gpus,
        region=instance.region,
        account_id=instance.account,
        private_ip=instance.view["PrivateIpAddress"],
        public_ip=instance.view.get("PublicIpAddress"),
        hostname=instance.view["PrivateDnsName"],
        root_volume_id=instance.root_volume_id,
    )


def boot_again(cloud: Cloud, instance: Instance) -> None:
    """Boot a machine that was down only for its disk to be copied (hold its lock)."""
    if instance.state != "running":
        return
    try:
        cloud.machines.boot(_spec(instance))
    except (MachineError, OSError) as error:
        cloud.say(f"machine {instance.id} did not come up again: {error}")
        say_why(instance, ("Server.InternalError", f"Server.InternalError: {error}"))
        settle(cloud, instance, "stopped")
    else:
        _comes_up(cloud, instance)


def stop(cloud: Cloud, instance: Instance, *, force: bool, why: tuple[str, str] = USER) -> Any:
    """Go through `stopping` to `stopped`."""
    return _go_down(cloud, instance, "stopped", force=force, why=why)


def start(cloud: Cloud, instance: Instance) -> Any:
    """Go through `pending` to `running` again."""
    instance.set_state("pending")
    instance.view.pop("StateReason", None)
    instance.view["StateTransitionReason"] = ""
    instance.view["LaunchTime"] = now()
    return _start(cloud, instance)


def reboot(cloud: Cloud, instance: Instance) -> Any:
    """Restart the machine; one whose host has failed comes up on another."""

    def work() -> None:
        if impaired(cloud).pop(instance.id, None):
            boot_again(cloud, instance)
            return
        cloud.machines.reboot(instance.id)
        _comes_up(cloud, instance)

    return _job(cloud, instance, work)


def terminate(
    cloud: Cloud, instance: Instance, *, why: tuple[str, str] = USER, force: bool = False
) -> Any:
    """Go through `shutting-down` to `terminated`; nothing of it stays but its record."""
    return _go_down(cloud, instance, "terminated", why=why, force=force)


def _go_down(
    cloud: Cloud, instance: Instance, ending: str, *, why: tuple[str, str], force: bool = False
) -> Any:
    """Power off at once; the end state comes when it is due, unless another one came between."""
    due = _begin_end(cloud, instance, ending, why)
    turn = instance.turn

    def work() -> None:
        with instance_lock(instance.id):
            cloud.machines.shut_down(instance.id, force=force, timeout_s=POWER_OFF_S)
        _settle_when_due(cloud, instance, ending, due, turn)

    job = cloud.background(f"machine {instance.id}", work)
    return job if cloud.latency.is_past(due) else None


def _begin_end(cloud: Cloud, instance: Instance, ending: str, why: tuple[str, str]) -> float:
    """Show the state on the way to the end state; when that one is due."""
    stopping = ending == "stopped"
    due = cloud.latency.due("instance_stopping" if stopping else "instance_shutting_down")
    instance.set_state("stopping" if stopping else "shutting-down")
    say_why(instance, why)
    return due


def _settle_when_due(cloud: Cloud, instance: Instance, ending: str, due: float, turn: int) -> None:
    if cloud.pause(due):
        return  # the next start settles it
    with instance_lock(instance.id):
        if instance.turn == turn:
            settle(cloud, instance, ending)


def powered_off(cloud: Cloud, instance_id: str) -> None:
    """The machine powered itself off or died: its shutdown behaviour decides what follows."""
    instance = instances(cloud).get(instance_id)
    if instance is None or instance.state not in ("pending", "running"):
        return
    dies = instance.shutdown_behavior == "terminate" or instance.spot == "one-time"
    ending = "terminated" if dies else "stopped"
    with instance_lock(instance_id):
        due = _begin_end(cloud, instance, ending, INSIDE)
        turn = instance.turn
    if cloud.latency.is_past(due):
        _settle_when_due(cloud, instance, ending, due, turn)
        cloud.changed()
        return
    cloud.background(
        f"machine {instance_id}",
        lambda: _settle_when_due(cloud, instance, ending, due, turn),
    )
