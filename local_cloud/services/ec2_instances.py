"""Describe, stop, start, reboot and terminate machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_endings import impaired
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_limits import admit_again
from local_cloud.services.ec2_model import (
    Instance,
    get_instances,
    instances,
    mine,
    refuse_dry_run,
)

FIELDS = {
    "instance-id": "InstanceId", "image-id": "ImageId", "instance-type": "InstanceType",
    "instance-state-name": "State.Name", "instance-state-code": "State.Code",
    "availability-zone": "Placement.AvailabilityZone", "subnet-id": "SubnetId",
    "vpc-id": "VpcId", "private-ip-address": "PrivateIpAddress",
    "ip-address": "PublicIpAddress", "private-dns-name": "PrivateDnsName",
    "key-name": "KeyName", "client-token": "ClientToken", "architecture": "Architecture",
    "instance-lifecycle": "InstanceLifecycle", "launch-time": "LaunchTime",
    "spot-instance-request-id": "SpotInstanceRequestId", "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType", "virtualization-type": "VirtualizationType",
    "instance.group-id": "SecurityGroups[].GroupId", "group-id": "SecurityGroups[].GroupId",
    "instance.group-name": "SecurityGroups[].GroupName",
    "iam-instance-profile.arn": "IamInstanceProfile.Arn",
    "iam-instance-profile.id": "IamInstanceProfile.Id",
    "block-device-mapping.volume-id": "BlockDeviceMappings[].Ebs.VolumeId",
    "block-device-mapping.device-name": "BlockDeviceMappings[].DeviceName",
    "network-interface.network-interface-id": "NetworkInterfaces[].NetworkInterfaceId",
    "network-interface.subnet-id": "NetworkInterfaces[].SubnetId",
    "tenancy": "Placement.Tenancy", "state-reason-code": "StateReason.Code",
    "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
    "owner-id": "NetworkInterfaces[].OwnerId", "reservation-id": "_ReservationId",
}  # fmt: skip


def _chosen(call: Call, action: str) -> list[Params]:
    """The machines that a call's IDs and filters choose, each with its reservation's ID."""
    ids = call.params.get("InstanceIds", [])
    if ids and call.params.get("MaxResults"):
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    found = get_instances(call, ids) if ids else mine(call, instances(call.cloud))
    shown = [one.looked_at(call) | {"_ReservationId": one.reservation_id} for one in found]
    return filtered(call, shown, FIELDS, action)


@handles("ec2", "DescribeInstances")
def describe_instances(call: Call) -> Params:
    reservations: dict[str, Params] = {}
    for shown in _chosen(call, "DescribeInstances"):
        reservation_id = shown.pop("_ReservationId")
        reservation = reservations.setdefault(
            reservation_id,
            {"ReservationId": reservation_id, "OwnerId": call.account, "Groups": [],
             "Instances": []},
        )  # fmt: skip
        reservation["Instances"].append(shown)
    return page(call, list(reservations.values()), "Reservations")


@handles("ec2", "DescribeInstanceStatus")
def describe_instance_status(call: Call) -> Params:
    statuses = []
    filters = call.params.get("Filters", [])
    known = {"availability-zone": "AvailabilityZone", "instance-state-name": "InstanceState.Name",
             "instance-state-code": "InstanceState.Code",
             "instance-status.status": "InstanceStatus.Status",
             "system-status.status": "SystemStatus.Status"}  # fmt: skip
    ids = call.params.get("InstanceIds", [])
    found = get_instances(call, ids) if ids else mine(call, instances(call.cloud))
    for one in found:
        state = one.state
        if state != "running" and not call.params.get("IncludeAllInstances"):
            continue
        status = _health(call, one)
        statuses.append(
            {
                "InstanceId": one.id, "InstanceState": dict(one.view["State"]),
                "AvailabilityZone": one.view["Placement"]["AvailabilityZone"],
                "InstanceStatus": status, "SystemStatus": status,
                "AttachedEbsStatus": status, "Events": [],
            }
        )  # fmt: skip
    del filters
    return page(call, filtered(call, statuses, known, call.action), "InstanceStatuses")


def _health(call: Call, instance: Instance) -> Params:
    if instance.state != "running":
        return {"Status": "not-applicable"}
    since = impaired(call.cloud).get(instance.id)
    if since:
        failed = {"Name": "reachability", "Status": "failed", "ImpairedSince": since}
        return {"Status": "impaired", "Details": [failed]}
    passed = call.cloud.machines.is_up(instance.id) and call.cloud.latency.is_past(
        instance.checked_after
    )
    return {
        "Status": "ok" if passed else "initializing",
        "Details": [{"Name": "reachability", "Status": "passed" if passed else "initializing"}],
    }


def _change(
    call: Call, key: str, check: Callable[[Instance], None], act: Callable[[Instance], Any]
) -> Params:
    """Check every machine, then change every machine; the answer shows both states."""
    chosen = get_instances(call, call.params["InstanceIds"])
    for one in chosen:
        check(one)
    refuse_dry_run(call)
    changes, jobs = [], []
    for one in chosen:
        before = dict(one.view["State"])
        job = act(one)
        if job is not None:
            jobs.append(job)
        changes.append(
            {"InstanceId": one.id, "PreviousState": before, "CurrentState": dict(one.view["State"])}
        )
    ec2_lifecycle.wait_until_settled(jobs)
    return {key: changes}


def incorrect_state(instance: Instance, wanted: str) -> AwsError:
    return AwsError(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {wanted}: it is"
        f" {instance.state}.",
    )


@handles("ec2", "TerminateInstances")
def terminate_instances(call: Call) -> Params:
    def check(one: Instance) -> None:
        if one.no_terminate and one.state != "terminated":
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{one.id}' may not be terminated. Modify its 'disableApiTermination'"
                " instance attribute and try again.",
            )

    def act(one: Instance) -> Any:
        with call.cloud.store.lock:
            if one.state in ("terminated", "shutting-down"):
                return None
            return ec2_lifecycle.terminate(call.cloud, one)

    return _change(call, "TerminatingInstances", check, act)


@handles("ec2", "StopInstances")
def stop_instances(call: Call) -> Params:
    if call.params.get("Hibernate"):
        raise not_modelled("hibernation")

    def check(one: Instance) -> None:
        if one.spot == "one-time":
            raise AwsError(
                "UnsupportedOperation",
                f"You can't stop the Spot Instance '{one.id}' because it is associated with a"
                " one-time Spot Instance request. You can only stop Spot Instances associated with"
                " persistent Spot Instance requests.",
            )
        if one.no_stop:
            raise AwsError(
                "OperationNotPermitted",
                f"The instance '{one.id}' may not be stopped. Modify its 'disableApiStop' instance"
                " attribute and try again.",
            )
        if one.state in ("terminated", "shutting-down"):
            raise incorrect_state(one, "stopped")

    def act(one: Instance) -> Any:
        with call.cloud.store.lock:
            if one.state in ("stopped", "stopping"):
                return None
            return ec2_lifecycle.stop(call.cloud, one, force=bool(call.params.get("Force")))

    return _change(call, "StoppingInstances", check, act)


@handles("ec2", "StartInstances")
def start_instances(call: Call) -> Params:
    def check(one: Instance) -> None:
        if one.state not in ("stopped", "running", "pending"):
            raise incorrect_state(one, "started")

    def act(one: Instance) -> Any:
        with call.cloud.store.lock:
            if one.state != "stopped":
                return None
            admit_again(call, one)
            return ec2_lifecycle.start(call.cloud, one)

    return _change(call, "StartingInstances", check, act)


@handles("ec2", "RebootInstances")
def reboot_instances(call: Call) -> Params:
    chosen = get_instances(call, call.params["InstanceIds"])
    for one in chosen:
        if one.state != "running":
            raise incorrect_state(one, "rebooted")
    refuse_dry_run(call)
    ec2_lifecycle.wait_until_settled([ec2_lifecycle.reboot(call.cloud, one) for one in chosen])
    return {}
