"""What befalls machines on order: interruptions of spot, hosts that fail, disks that fill up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.control import NoSuchThingError, controls
from local_cloud.faults import FaultsFileError, MachineFault, about_calls
from local_cloud.faults.orders import SPOT_ONLY
from local_cloud.faults.reading import parse_fault
from local_cloud.machines.contract import Script
from local_cloud.machines.recorded import RecordedMachines
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_endings import SPOT_ENDED, impaired, set_spot_status
from local_cloud.services.ec2_facts import facts_of_machine, machines_of
from local_cloud.services.ec2_model import Instance, instances, now, spot_requests

UP = ("pending", "running")
#: How long a call waits for what befalls its machines at once.
LONGEST_S = 60.0
STOPPED = ("Server.SpotInstanceShutdown", "Server.SpotInstanceShutdown: Spot instance shutdown")
#: As EC2 says it of machines that do not come up at all, and of those that ran.
ON_LAUNCH = ("Server.InternalError", "Server.InternalError: Internal error on launch")
HOST_FAILED = ("Server.InternalError", "Server.InternalError: The host of the machine has failed")
#: Takes all free blocks but FREE MiB, and but the 16 MiB (4096 blocks) that ext4 gives to nobody.
FILL = """
sync
free=$(( $(stat -f -c '%f * %S / 1048576' /) - 16 - FREE ))
while [ "$free" -gt 0 ] && ! fallocate -l "${free}M" /var/.filled; do free=$((free - 1)); done
[ FREE -gt 0 ] || dd if=/dev/zero of=/var/.filled.rest bs=4096 status=none 2> /dev/null || true
"""


@ec2_lifecycle.AT_LAUNCH.append
def befall_launched(cloud: Cloud, instance: Instance) -> None:
    """What is on order for machines from their launch on."""
    for fault in cloud.faults.take_for_machine(facts_of_machine(cloud, instance)):
        befall(cloud, instance, fault)


@about_calls
def befall_called(call: Call, result: Params | None) -> None:
    """What is on order before (no result) or after a call for the machines it is about."""
    named, before = (call.service, call.action), result is None
    faults = call.cloud.faults
    if not faults.watches(named, before=before):
        return
    meant = machines_of(call.cloud, call.params, result)
    for one in meant or list(instances(call.cloud).values()):
        if one.state in UP:
            for fault in faults.take_for_machine(
                facts_of_machine(call.cloud, one), call=named, before=before, params=call.params
            ):
                befall(call.cloud, one, fault)


@controls("machines")
def befall_now(cloud: Cloud, instance_id: str, body: bytes) -> Params:
    """`PUT /_local_cloud/machines/ID` with a fault of machines, for this one."""
    instance = instances(cloud).get(instance_id)
    if instance is None or instance.state not in UP:
        raise NoSuchThingError(f"no machine {instance_id} is up")
    try:
        given = json.loads(body)
    except ValueError as error:
        raise FaultsFileError(f"machine {instance_id}: not JSON: {error}") from error
    fault = parse_fault(given, named=f"machine {instance_id}")
    wrong = _unfit(instance, fault)
    if wrong:
        raise FaultsFileError(f"machine {instance_id} ({json.dumps(given)}): {wrong}")
    assert isinstance(fault, MachineFault)
    befall(cloud, instance, fault)
    return {"machine": instance_id, "fault": fault.fault, "state": instance.state}


def _unfit(instance: Instance, fault: Any) -> str | None:
    if not isinstance(fault, MachineFault):
        return f"fault: {fault.fault} does not befall one machine"
    strays = {"action", "service", "when", "times", "after", "before"} & fault.model_fields_set
    if strays:
        return f"{min(strays)}: means nothing for one machine now"
    if fault.fault in SPOT_ONLY and instance.view.get("InstanceLifecycle") != "spot":
        return f"fault: {fault.fault} needs a spot machine; this one is on-demand"
    return None


def befall(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """Let it happen now, and return when it has, or `seconds` of the cloud's clock later."""
    work = {
        "interrupt": interrupt,
        "rebalance": recommend_rebalance,
        "host-failure": fail_host,
        "impair": impair,
        "fill-disk": fill_disk,
    }[fault.fault]
    if not fault.seconds:
        work(cloud, instance, fault)
        return
    _later(cloud, instance, fault.seconds, lambda: work(cloud, instance, fault))


def _later(cloud: Cloud, instance: Instance, seconds: float, work: Callable[[], None]) -> None:
    due = cloud.latency.clock.now() + seconds

    def wait() -> None:
        if not cloud.pause(due) and instance.state in UP:
            work()

    cloud.background(f"trouble of {instance.id}", wait)


def interrupt(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """Tell the machine, then end it as its request says (EC2 user guide, "Spot interruptions").

    A request that terminates says so at once, while its machine runs on until the notice is over.
    """
    request = spot_requests(cloud)[instance.view["SpotInstanceRequestId"]]
    stops = request.view["InstanceInterruptionBehavior"] == "stop"
    ends = _time_text(_now(cloud) + timedelta(seconds=fault.notice))
    with cloud.store.lock:
        notice = {"action": "stop" if stops else "terminate", "time": ends}
        cloud.store.table("ec2 spot notices")[instance.id] = notice
        if stops:
            set_spot_status(request, "marked-for-stop")
        else:
            set_spot_status(request, "instance-terminated-no-capacity")
            request.view["State"] = "closed" if request.view["Type"] == "one-time" else "open"
    recommend_rebalance(cloud, instance, fault)

    def end() -> None:
        cloud.store.table("ec2 spot notices").pop(instance.id, None)
        cloud.store.table("ec2 rebalance recommendations").pop(instance.id, None)
        if stops:
            why = _why(fault, STOPPED)
            job = _unless_over(
                cloud, instance, lambda: ec2_lifecycle.stop(cloud, instance, force=False, why=why)
            )
            set_spot_status(request, "instance-stopped-no-capacity")
            request.view["State"] = "disabled"
        else:
            why = _why(fault, SPOT_ENDED)
            job = _unless_over(
                cloud, instance, lambda: ec2_lifecycle.terminate(cloud, instance, why=why)
            )
        if job is not None:
            job.join(timeout=LONGEST_S)

    if fault.notice:
        _later(cloud, instance, fault.notice, end)
    else:
        end()


def _unless_over(cloud: Cloud, instance: Instance, end: Callable[[], Any]) -> Any:
    with cloud.store.lock:
        return end() if instance.state in UP else None


def _why(fault: MachineFault, usual: tuple[str, str]) -> tuple[str, str]:
    return (fault.code or usual[0], fault.message or usual[1])


def recommend_rebalance(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """Tell the machine that it is at risk (metadata `events/recommendations/rebalance`)."""
    del fault
    table = cloud.store.table("ec2 rebalance recommendations")
    table.setdefault(instance.id, _time_text(_now(cloud)))


def fail_host(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """The machine is gone at once, with nothing shut down in order."""
    why = _why(fault, ON_LAUNCH if instance.state == "pending" else HOST_FAILED)

    def end() -> threading.Thread:
        job: threading.Thread = ec2_lifecycle.terminate(cloud, instance, why=why, force=True)
        return job

    job = _unless_over(cloud, instance, end)
    if job is not None:
        job.join(timeout=LONGEST_S)


def impair(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """The machine stays `running`, fails its status checks and answers nothing."""
    del fault
    impaired(cloud)[instance.id] = now()
    cloud.machines.shut_down(instance.id, force=True)


def fill_disk(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    """Nothing more fits on the root disk but `free_mib`. A recorded machine fails every script."""
    if isinstance(cloud.machines, RecordedMachines):
        cloud.machines.full.add(instance.id)
    elif cloud.machines.is_up(instance.id):
        _fill(cloud, instance, fault)
    else:
        cloud.background(f"disk of {instance.id}", lambda: _fill_once_up(cloud, instance, fault))


def _fill_once_up(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    while instance.state in UP and not cloud.stopping.wait(0.05):
        if cloud.machines.is_up(instance.id):
            _fill(cloud, instance, fault)
            return


def _fill(cloud: Cloud, instance: Instance, fault: MachineFault) -> None:
    script = Script(
        command_id=f"fill-disk-{instance.id}", timeout_s=LONGEST_S,
        lines=tuple(FILL.replace("FREE", str(fault.free_mib)).strip().splitlines()),
    )  # fmt: skip
    outcome = cloud.machines.run(instance.id, script, threading.Event())
    if outcome.exit_code:
        said = outcome.stderr.decode(errors="replace").strip()
        cloud.say(f"the disk of {instance.id} was not filled: {said}")


def _now(cloud: Cloud) -> datetime:
    return datetime.fromtimestamp(cloud.latency.clock.now(), UTC)


def _time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
