"""RunInstances: makes the machine's records at once, and boots it in the background."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_disks import attach_at_launch
from local_cloud.services.ec2_initialization import start_initialization
from local_cloud.services.ec2_launch import Launch, check_launch
from local_cloud.services.ec2_launch_disks import Disk
from local_cloud.services.ec2_limits import admit
from local_cloud.services.ec2_model import (
    Instance,
    Resource,
    Volume,
    hide_if_ordered,
    instances,
    is_mine,
    new_id,
    now,
    refuse_dry_run,
    spot_requests,
    tag_list,
    tags_for,
    volumes,
)
from local_cloud.services.ec2_network import attach_interface

_launching = threading.Lock()


@handles("ec2", "RunInstances")
def run_instances(call: Call) -> Params:
    least, most = call.params["MinCount"], call.params["MaxCount"]
    if not 1 <= least <= most:
        raise AwsError(
            "InvalidParameterValue", f"Invalid value '{least}' for minCount (maxCount is {most})."
        )
    token = call.params.get("ClientToken")
    if not call.params.get("DryRun"):
        call.cloud.pause(call.cloud.latency.due("launch"))
    with _launching:
        before = _find_by_token(call, token) if token else []
        if before:
            return _reservation(before)
        launch = check_launch(call)
        refuse_dry_run(call)
        made = launch_machines(call, launch, count=most, least=least, token=token)
        answer = _reservation(made)
    ec2_lifecycle.boot_all(call.cloud, made)
    return answer


def _find_by_token(call: Call, token: str) -> list[Instance]:
    """The machines this token was used for, also terminated ones. Other parameters: an error."""
    found = [
        one
        for one in list(instances(call.cloud).values())
        if one.token == token and is_mine(call, one)
    ]
    asked = {name: value for name, value in call.params.items() if name != "DryRun"}
    if found and found[0].launch != asked:
        raise AwsError(
            "IdempotentParameterMismatch",
            f"Arguments on this idempotent request are inconsistent with arguments used in previous"
            f" request(s) with the client token {token}.",
        )
    return found


def launch_machines(
    call: Call, launch: Launch, *, count: int, least: int | None = None,
    token: str | None = None, extra_tags: dict[str, str] | None = None,
) -> list[Instance]:  # fmt: skip
    """Make the records of some machines, disks and interfaces; `boot_all` starts them.

    There may be fewer than `count`, where `least` allows it. AwsError where the limits do not.
    """
    reservation_id = new_id("r")
    with call.cloud.store.lock:
        count = admit(call, launch, least=least or count, most=count)
        return [
            _make(call, launch, reservation_id, number, token, extra_tags or {})
            for number in range(count)
        ]


def _make(
    call: Call, launch: Launch, reservation_id: str, number: int, token: str | None,
    extra_tags: dict[str, str],
) -> Instance:  # fmt: skip
    asked, instance_id = launch.asked, new_id("i")
    specifications = asked.get("TagSpecifications", [])
    _check_tag_kinds(specifications)
    tags = tags_for(specifications, "instance") | launch.template | extra_tags
    interface = attach_interface(
        call, instance_id, subnet=launch.subnet, groups=launch.groups, spec=launch.interface,
        tags=tags_for(specifications, "network-interface"),
        delete_on_termination=launch.interface.get("DeleteOnTermination", True),
    )  # fmt: skip
    instance = Instance(
        id=instance_id, account=call.account, region=call.region, tags=tags,
        view=_view(launch, instance_id, number, interface),
        reservation_id=reservation_id, user_data=launch.user_data, token=token,
        public_key=launch.public_key,
        launch={name: value for name, value in call.params.items() if name != "DryRun"},
        shutdown_behavior=asked.get("InstanceInitiatedShutdownBehavior", "stop"),
        no_terminate=asked.get("DisableApiTermination", False),
        no_stop=asked.get("DisableApiStop", False),
        interface_id=interface["NetworkInterfaceId"],
        gpus=sum(gpu["Count"] for gpu in launch.type_details.get("GpuInfo", {}).get("Gpus", [])),
    )  # fmt: skip
    if token:
        instance.view["ClientToken"] = token
    if launch.profile:
        instance.profile_association = new_id("iip-assoc")
    for disk in launch.disks:
        _make_volume(call, instance, disk, tags_for(specifications, "volume"))
    instance.root_volume_id = instance.view["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    if launch.spot:
        _make_spot_request(
            call, instance, launch, tags_for(specifications, "spot-instances-request")
        )
    instances(call.cloud)[instance_id] = instance
    hide_if_ordered(call, instance)
    return instance


def _check_tag_kinds(specifications: list[Params]) -> None:
    known = {"instance", "volume", "network-interface", "spot-instances-request"}
    for one in specifications:
        if one.get("ResourceType") not in known:
            raise AwsError(
                "InvalidParameterValue",
                f"'{one.get('ResourceType')}' is not a valid taggable resource type here.",
            )


def _make_volume(call: Call, instance: Instance, disk: Disk, tags: dict[str, str]) -> None:
    volume_id = new_id("vol")
    zone = instance.view["Placement"]["AvailabilityZone"]
    view = disk.view | {"VolumeId": volume_id, "AvailabilityZone": zone, "CreateTime": now()}
    volume = Volume(
        id=volume_id, account=call.account, region=call.region, tags=tags,
        view=view,
    )  # fmt: skip
    attach_at_launch(
        volume, instance, disk.device, delete_on_termination=disk.delete_on_termination
    )
    volumes(call.cloud)[volume_id] = volume
    start_initialization(call, volume)
    hide_if_ordered(call, volume)


def _make_spot_request(
    call: Call, instance: Instance, launch: Launch, tags: dict[str, str]
) -> None:
    assert launch.spot is not None
    request_id = "sir-" + new_id("x").removeprefix("x-")[:8]
    kind = launch.spot["SpotInstanceType"]
    spot_requests(call.cloud)[request_id] = Resource(
        id=request_id, account=call.account, region=call.region, tags=tags,
        view={
            "SpotInstanceRequestId": request_id, "State": "active", "Type": kind,
            "InstanceId": instance.id, "CreateTime": now(), "ProductDescription": "Linux/UNIX",
            "LaunchedAvailabilityZone": instance.view["Placement"]["AvailabilityZone"],
            "InstanceInterruptionBehavior": launch.spot["InstanceInterruptionBehavior"],
            "SpotPrice": launch.spot.get("MaxPrice", "1.000000"),
            "Status": {"Code": "fulfilled", "Message": "Your Spot request is fulfilled.",
                       "UpdateTime": now()},
            "LaunchSpecification": {
                "ImageId": launch.image.id, "InstanceType": launch.instance_type,
                "SecurityGroups": launch.groups, "SubnetId": launch.subnet["SubnetId"],
            },
        },
    )  # fmt: skip
    instance.spot = kind
    instance.view["InstanceLifecycle"] = "spot"
    instance.view["SpotInstanceRequestId"] = request_id


def _view(launch: Launch, instance_id: str, number: int, interface: Params) -> dict[str, Any]:
    """What DescribeInstances shows of a machine that was just launched."""
    asked, image, cpu = launch.asked, launch.image.view, launch.type_details.get("VCpuInfo", {})
    metadata = asked.get("MetadataOptions", {})
    tokens = metadata.get("HttpTokens") or (
        "required" if image.get("ImdsSupport") == "v2.0" else "optional"
    )
    view: dict[str, Any] = {
        "InstanceId": instance_id, "ImageId": launch.image.id, "AmiLaunchIndex": number,
        "InstanceType": launch.instance_type, "LaunchTime": now(),
        "State": {"Name": "pending", "Code": 0}, "StateTransitionReason": "",
        "Placement": {
            "AvailabilityZone": launch.subnet["AvailabilityZone"], "GroupName": "",
            "Tenancy": "default",
        },
        "PrivateIpAddress": interface["PrivateIpAddress"],
        "PrivateDnsName": interface["PrivateDnsName"], "PublicDnsName": "",
        "SubnetId": launch.subnet["SubnetId"], "VpcId": launch.subnet["VpcId"],
        "SecurityGroups": launch.groups, "SourceDestCheck": True, "ProductCodes": [],
        "Architecture": image["Architecture"], "RootDeviceName": image["RootDeviceName"],
        "RootDeviceType": "ebs", "VirtualizationType": "hvm", "Hypervisor": "xen",
        "EnaSupport": True, "EbsOptimized": asked.get("EbsOptimized", False),
        "BootMode": image.get("BootMode"), "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances", "UsageOperationUpdateTime": now(),
        "BlockDeviceMappings": [], "NetworkInterfaces": [interface],
        "Monitoring": {
            "State": "enabled" if asked.get("Monitoring", {}).get("Enabled") else "disabled"
        },
        "CpuOptions": {
            "CoreCount": cpu.get("DefaultCores", 1),
            "ThreadsPerCore": cpu.get("DefaultThreadsPerCore", 1),
        },
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "HibernationOptions": {"Configured": False}, "EnclaveOptions": {"Enabled": False},
        "MaintenanceOptions": {"AutoRecovery": "default"},
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name", "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "MetadataOptions": {
            "State": "applied", "HttpTokens": tokens,
            "HttpPutResponseHopLimit": metadata.get("HttpPutResponseHopLimit")
            or (2 if image.get("ImdsSupport") == "v2.0" else 1),
            "HttpEndpoint": metadata.get("HttpEndpoint", "enabled"),
            "HttpProtocolIpv6": metadata.get("HttpProtocolIpv6", "disabled"),
            "InstanceMetadataTags": metadata.get("InstanceMetadataTags", "disabled"),
        },
    }  # fmt: skip
    if interface.get("Association"):
        view["PublicIpAddress"] = interface["Association"]["PublicIp"]
    if asked.get("KeyName"):
        view["KeyName"] = asked["KeyName"]
    if launch.profile:
        view["IamInstanceProfile"] = {"Arn": launch.profile["Arn"], "Id": launch.profile["Id"]}
    return view


def _reservation(made: list[Instance]) -> Params:
    return {
        "ReservationId": made[0].reservation_id,
        "OwnerId": made[0].account,
        "Groups": [],
        "Instances": [one.view | {"Tags": tag_list(one.tags)} for one in made],
    }


def launch_as(call: Call, params: Params, tags: dict[str, str]) -> list[Instance]:
    """Launch for a fleet or for Batch with RunInstances' parameters and AWS's own tags.

    `boot_all` starts the machines.
    """
    as_launch = replace(call, action="RunInstances", params=params)
    with _launching:
        launch = check_launch(as_launch)
        return launch_machines(as_launch, launch, count=params["MaxCount"], extra_tags=tags)


@handles("ec2", "RequestSpotInstances", "RequestSpotFleet")
def refuse_other_launches(call: Call) -> Params:
    raise not_modelled(f"ec2:{call.action} (use RunInstances, with InstanceMarketOptions for spot)")
