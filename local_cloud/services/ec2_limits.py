"""What bounds launches: capacity by type, zone and market, and quotas of vCPUs."""

from __future__ import annotations

from typing import NoReturn

from local_cloud.call import Call
from local_cloud.errors import AwsError
from local_cloud.faults import Facts, Limit
from local_cloud.faults.when import matches
from local_cloud.services.ec2_facts import facts_of_launch, facts_of_machine
from local_cloud.services.ec2_initialization import check_initialization
from local_cloud.services.ec2_launch import Launch
from local_cloud.services.ec2_model import Instance, instances


def admit(call: Call, launch: Launch, *, least: int, most: int) -> int:
    """How many of `least` to `most` machines can be launched now; AwsError for fewer than least.

    Asked after the checks and after a dry run has ended: on AWS a dry run sees neither capacity
    nor quotas (aws-parallelcluster #1779). Hold the store's lock until the machines are recorded.
    """
    facts = facts_of_launch(call, launch)
    vcpus = int(launch.type_details.get("VCpuInfo", {}).get("DefaultVCpus", 1))
    room = min(most, _room(call, facts, vcpus, least=least))
    rates = [rate for disk in launch.disks if (rate := disk.view.get("VolumeInitializationRate"))]
    check_initialization(call, sum(rates) * room, facts)
    return room


def admit_again(call: Call, instance: Instance) -> None:
    """Whether a stopped machine can start now: it needs capacity and quota like a new one."""
    _room(call, facts_of_machine(call.cloud, instance), _vcpus(instance), least=1)


def _room(call: Call, facts: Facts, vcpus: int, *, least: int) -> int:
    room = 1_000_000
    up = [
        one for one in list(instances(call.cloud).values()) if one.state in ("pending", "running")
    ]
    for limit in call.cloud.faults.limits("quota", facts):
        used = sum(_vcpus(one) for one in up if _counts(call, limit, facts, one))
        fits = max(0, limit.vcpus - used) // vcpus
        if fits < least and call.cloud.faults.refuses(limit):
            _refuse_quota(limit, facts)
        room = min(room, max(fits, least))
    for limit in call.cloud.faults.limits("capacity", facts):
        used = sum(1 for one in up if matches(limit.when, {}, facts_of_machine(call.cloud, one)))
        fits = max(0, limit.machines - used)
        if fits < least and call.cloud.faults.refuses(limit):
            _refuse_capacity(call, limit, facts)
        room = min(room, max(fits, least))
    return room


def _counts(call: Call, limit: Limit, facts: Facts, one: Instance) -> bool:
    """Whether a machine uses up a quota: AWS keeps spot's and on-demand's apart."""
    own = facts_of_machine(call.cloud, one)
    same = own["spot"] == facts["spot"] and (one.account, one.region) == (call.account, call.region)
    return same and matches(limit.when, {}, own)


def _vcpus(one: Instance) -> int:
    cpu = one.view["CpuOptions"]
    return int(cpu["CoreCount"]) * int(cpu["ThreadsPerCore"])


def _refuse_quota(limit: Limit, facts: Facts) -> NoReturn:
    code, said = "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"
    if not facts["spot"]:
        code = "VcpuLimitExceeded"
        said = (
            "You have requested more vCPU capacity than your current vCPU limit of"
            f" {limit.vcpus} allows for the instance bucket that the specified instance type"
            " belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an"
            " adjustment to this limit."
        )
    raise AwsError(limit.code or code, limit.message or said)


def _refuse_capacity(call: Call, limit: Limit, facts: Facts) -> NoReturn:
    """EC2 counts a lack of capacity as its own fault: 500, which clients retry."""
    kind, zone = facts["instance_type"], facts["zone"]
    said = "There is no Spot capacity available that matches your request."
    if not facts["spot"]:
        others = _zones_with_capacity(call, facts)
        said = (
            f"We currently do not have sufficient {kind} capacity in the Availability Zone you"
            f" requested ({zone}). Our system will be working on provisioning additional capacity."
        )
        if others:
            said += (
                f" You can currently get {kind} capacity by not specifying an Availability Zone in"
                f" your request or choosing {', '.join(others)}."
            )
    raise AwsError(limit.code or "InsufficientInstanceCapacity", limit.message or said, status=500)


def _zones_with_capacity(call: Call, facts: Facts) -> list[str]:
    found = call.moto({}, action="DescribeAvailabilityZones")["AvailabilityZones"]
    return [
        zone
        for zone in (str(one["ZoneName"]) for one in found)
        if zone != facts["zone"]
        and not call.cloud.faults.limits("capacity", {**facts, "zone": zone, "subnet": None})
    ]
