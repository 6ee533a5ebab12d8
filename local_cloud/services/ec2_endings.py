"""What it means that a machine ends: the reason it shows, what it lets go of, its spot request."""

from __future__ import annotations

from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.services.ec2_disks import drop_volume
from local_cloud.services.ec2_model import (
    Instance,
    Resource,
    now,
    spot_requests,
    volumes,
)
from local_cloud.services.ec2_network import release_interface

BY_USER = "instance-terminated-by-user"
#: What a spot request says when its machine has ended for a reason (EC2 user guide, "Spot request
#: status"; for a failure of the host the guide names none: this one is a guess).
SPOT_STATUS = {
    "Server.SpotInstanceTermination": "instance-terminated-no-capacity",
    "Server.InternalError": "instance-terminated-by-service",
}
SPOT_MESSAGES = {
    "instance-terminated-no-capacity": "Your Spot instance was terminated because there is no Spot"
    " capacity available that matches your request."
}
SPOT_ENDED = (
    "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination",
)  # fmt: skip


def say_why(instance: Instance, why: tuple[str, str]) -> None:
    instance.view["StateReason"] = {"Code": why[0], "Message": why[1]}
    by = "Service initiated" if why[0].startswith("Server.") else "User initiated"
    instance.view["StateTransitionReason"] = f"{by} ({now().strftime('%Y-%m-%d %H:%M:%S')} GMT)"


def impaired(cloud: Cloud) -> dict[str, Any]:
    """Machines that are `running` and do not answer, and since when."""
    return cloud.store.table("ec2 impaired machines")


def settle(cloud: Cloud, instance: Instance, state: str) -> None:
    """Reach the end state; a terminated machine lets go of all that was made for it."""
    if state == "terminated":
        _let_go(cloud, instance)
    with cloud.store.lock:
        instance.set_state(state)
        impaired(cloud).pop(instance.id, None)
        request = spot_requests(cloud).get(instance.view.get("SpotInstanceRequestId", ""))
        if state == "terminated" and request is not None and request.view["Type"] == "one-time":
            if request.view["State"] != "cancelled":
                request.view["State"] = "closed"
            set_spot_status(request, SPOT_STATUS.get(instance.view["StateReason"]["Code"], BY_USER))


def set_spot_status(request: Resource, code: str) -> None:
    request.view["Status"] = {
        "Code": code, "Message": SPOT_MESSAGES.get(code, code), "UpdateTime": now(),
    }  # fmt: skip


def _let_go(cloud: Cloud, instance: Instance) -> None:
    for mapping in instance.view["BlockDeviceMappings"]:
        ebs = mapping["Ebs"]
        if ebs["DeleteOnTermination"]:
            drop_volume(cloud, ebs["VolumeId"])
        elif ebs["VolumeId"] in volumes(cloud):
            volumes(cloud)[ebs["VolumeId"]].view.update(State="available", Attachments=[])
    for interface in instance.view["NetworkInterfaces"]:
        release_interface(cloud, instance.region, instance.account, interface)
    with cloud.store.lock:
        instance.profile_association = None
        instance.view.update(
            BlockDeviceMappings=[], NetworkInterfaces=[], SecurityGroups=[], PrivateDnsName="",
            Monitoring={"State": "disabled"},
        )  # fmt: skip
        for gone in (
            "PrivateIpAddress",
            "PublicIpAddress",
            "SubnetId",
            "VpcId",
            "IamInstanceProfile",
        ):
            instance.view.pop(gone, None)
