"""Subnets, groups and interfaces: moto keeps them, our machines use them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any
from unittest import mock

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.lifecycle import at_start
from local_cloud.services.ec2_model import new_id

DEFAULT_VPC_ID = "vpc-0a10ca1000000000a"
DEFAULT_GROUP_ID = "sg-0a10ca1000000000f"
DEFAULT_SUBNET_IDS = tuple(f"subnet-0a10ca1000000000{number}" for number in range(1, 5))


@at_start
def make_default_vpc(cloud: Cloud) -> None:
    """Give the default region of an empty cloud a VPC whose IDs are the same in every run."""
    if cloud.store.table("ec2 defaults").get("made"):
        return
    with (
        cloud.moto.lock,
        mock.patch("moto.ec2.models.vpcs.random_vpc_id", return_value=DEFAULT_VPC_ID),
        mock.patch("moto.ec2.models.subnets.random_subnet_id", side_effect=DEFAULT_SUBNET_IDS),
        mock.patch(
            "moto.ec2.models.security_groups.random_security_group_id",
            return_value=DEFAULT_GROUP_ID,
        ),
    ):
        backend = cloud.moto.backend("ec2", region=cloud.region, account=cloud.account)
    assert backend.default_vpc.id == DEFAULT_VPC_ID
    give_internet(cloud, cloud.region, cloud.account)
    cloud.store.table("ec2 defaults")["made"] = True


def give_internet(cloud: Cloud, region: str, account: str) -> None:
    """An internet gateway and a default route for the default VPC, as every account has."""
    vpc_id = cloud.moto.backend("ec2", region=region, account=account).default_vpc.id

    def ask(action: str, **params: Any) -> Params:
        return cloud.moto.invoke("ec2", action, params, region=region, account=account)

    gateway_id = ask("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    ask("AttachInternetGateway", InternetGatewayId=gateway_id, VpcId=vpc_id)
    main = ask("DescribeRouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])
    ask(
        "CreateRoute",
        RouteTableId=main["RouteTables"][0]["RouteTableId"],
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=gateway_id,
    )


@dataclass
class InterfaceOwner:
    """What moto's interface needs to know of the machine that it is attached to."""

    id: str
    owner_id: str
    nics: dict[int, Any] = field(default_factory=dict)


@contextlib.contextmanager
def moto_ec2(cloud: Cloud, region: str, account: str) -> Iterator[Any]:
    """moto's EC2 objects of one region, under its lock."""
    with cloud.moto.lock:
        yield cloud.moto.backend("ec2", region=region, account=account)


def find_zone(call: Call, asked: Params, *, refusal: str = "InvalidParameterValue") -> str | None:
    """The name of the zone that is asked for, by name or ID, if one is. AwsError if it is not one
    of the region's.
    """
    for name, known_by, said in (
        ("AvailabilityZone", "ZoneName", "zone"), ("AvailabilityZoneId", "ZoneId", "zone-id"),
    ):  # fmt: skip
        if asked.get(name):
            zones = call.moto({}, action="DescribeAvailabilityZones")["AvailabilityZones"]
            for one in zones:
                if one[known_by] == asked[name]:
                    return str(one["ZoneName"])
            raise AwsError(refusal, f"Invalid availability {said}: [{asked[name]}]")
    return None


def find_subnet(call: Call, subnet_id: str | None, zone: str | None) -> Params:
    """The subnet asked for, or the default one of the zone. Raises as RunInstances does."""
    if subnet_id is not None:
        try:
            found = call.moto({"SubnetIds": [subnet_id]}, action="DescribeSubnets")["Subnets"]
        except AwsError:
            found = []
        if not found:
            raise AwsError(
                "InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist"
            )
        if zone and found[0]["AvailabilityZone"] != zone:
            raise AwsError(
                "InvalidParameterValue",
                f"The subnet {subnet_id} is not in the availability zone {zone}",
            )
        return dict(found[0])
    wanted = [{"Name": "default-for-az", "Values": ["true"]}]
    if zone:
        wanted.append({"Name": "availability-zone", "Values": [zone]})
    found = call.moto({"Filters": wanted}, action="DescribeSubnets")["Subnets"]
    if not found:
        raise AwsError(
            "MissingInput" if zone else "VPCIdNotSpecified",
            f"No default subnet for availability zone: '{zone}'."
            if zone
            else "No default VPC for this user. GroupName is only supported for EC2-Classic and"
            " default VPC.",
        )
    return dict(sorted(found, key=lambda subnet: str(subnet["AvailabilityZone"]))[0])


def find_groups(call: Call, ids: list[str], names: list[str], subnet: Params) -> list[Params]:
    """The security groups asked for, or the VPC's default one, as IDs and names."""
    vpc_id = subnet["VpcId"]
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        found = []
        for group_id in ids:
            group = backend.get_security_group_from_id(group_id)
            if group is None:
                raise AwsError(
                    "InvalidGroup.NotFound", f"The security group '{group_id}' does not exist"
                )
            if group.vpc_id != vpc_id:
                raise AwsError(
                    "InvalidParameter",
                    f"Security group {group_id} and subnet {subnet['SubnetId']} belong to"
                    " different networks.",
                )
            found.append(group)
        for name in names:
            group = backend.get_security_group_from_name(name, vpc_id)
            if group is None:
                raise AwsError(
                    "InvalidGroup.NotFound",
                    f"The security group '{name}' does not exist in VPC '{vpc_id}'",
                )
            found.append(group)
        if not ids and not names:
            found.append(backend.get_default_security_group(vpc_id))
        return [{"GroupId": group.id, "GroupName": group.name} for group in found]


def attach_interface(
    call: Call, instance_id: str, *, subnet: Params, groups: list[Params], spec: Params,
    tags: dict[str, str], delete_on_termination: bool,
) -> Params:  # fmt: skip
    """Make and attach a machine's interface; what DescribeInstances shows of it."""
    owner = InterfaceOwner(instance_id, call.account)
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        subnet_object = backend.get_subnet(subnet["SubnetId"])
        address = spec.get("PrivateIpAddress")
        if address is None:
            address = subnet_object.get_available_subnet_ip(owner)
        else:
            _request_address(subnet_object, address, owner)
        eni = backend.create_network_interface(
            subnet_object, address, group_ids=[group["GroupId"] for group in groups],
            description=spec.get("Description", ""), tags=tags,
            delete_on_termination=delete_on_termination,
        )  # fmt: skip
        owner.nics[0] = eni
        eni.instance = owner
        eni.status = "in-use"
        eni.device_index = 0
        eni.attachment_id = new_id("eni-attach")
        eni.attach_time = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        public = spec.get("AssociatePublicIpAddress")
        if public is None:
            public = str(subnet_object.map_public_ip_on_launch).lower() == "true"
        eni.public_ip = _public_address(address) if public else None
        return _interface_view(eni, subnet, groups, call.account)


def _public_address(private: str) -> str:
    """One for each address of a /15, out of the range that RFC 2544 keeps for tests."""
    return str(IPv4Address("198.18.0.0") + int(IPv4Address(private)) % 2**17)


def _request_address(subnet: Any, address: str, owner: InterfaceOwner) -> None:
    try:
        subnet.request_ip(address, owner)
    except Exception as error:
        raise AwsError("InvalidParameterValue", f"Address {address}: {error}") from error


def _interface_view(eni: Any, subnet: Params, groups: list[Params], account: str) -> Params:
    dns = f"ip-{eni.private_ip_address.replace('.', '-')}"
    zone_region = subnet["AvailabilityZone"][:-1]
    view: Params = {
        "NetworkInterfaceId": eni.id, "SubnetId": subnet["SubnetId"], "VpcId": subnet["VpcId"],
        "Description": eni.description, "OwnerId": account, "Status": "in-use",
        "MacAddress": eni.mac_address, "PrivateIpAddress": eni.private_ip_address,
        "PrivateDnsName": f"{dns}.{zone_region}.compute.internal", "SourceDestCheck": True,
        "Groups": groups, "Ipv6Addresses": [], "InterfaceType": "interface",
        "Attachment": {
            "AttachTime": eni.attach_time.replace(tzinfo=UTC), "AttachmentId": eni.attachment_id,
            "DeleteOnTermination": bool(eni.delete_on_termination), "DeviceIndex": 0,
            "NetworkCardIndex": 0, "Status": "attached",
        },
        "PrivateIpAddresses": [
            {"Primary": True, "PrivateIpAddress": eni.private_ip_address},
        ],
    }  # fmt: skip
    if eni.public_ip:
        view["Association"] = {
            "IpOwnerId": "amazon",
            "PublicIp": eni.public_ip,
            "PublicDnsName": "",
        }
        view["PrivateIpAddresses"][0]["Association"] = view["Association"]
    return view


def release_interface(cloud: Cloud, region: str, account: str, view: Params) -> None:
    """Delete a terminated machine's interface and give its address back. May be repeated."""
    with moto_ec2(cloud, region, account) as backend:
        eni = backend.enis.get(view["NetworkInterfaceId"])
        if eni is None:
            return
        if view["Attachment"]["DeleteOnTermination"]:
            backend.enis.pop(eni.id)
            with contextlib.suppress(Exception):
                backend.get_subnet(view["SubnetId"]).del_subnet_ip(eni.private_ip_address)
        else:
            eni.instance = eni.attachment_id = eni.attach_time = None
            eni.status = "available"


def _interfaces(call: Call, matches: str, value: str) -> list[Any]:
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        enis = list(backend.enis.values())
    if matches == "subnet":
        return [eni for eni in enis if eni.subnet.id == value]
    return [eni for eni in enis if any(group.id == value for group in eni._group_set)]


@handles("ec2", "DeleteSubnet")
def delete_subnet(call: Call) -> Params:
    if _interfaces(call, "subnet", call.params["SubnetId"]):
        raise AwsError(
            "DependencyViolation",
            f"The subnet '{call.params['SubnetId']}' has dependencies and cannot be deleted.",
        )
    return call.moto()


@handles("ec2", "DeleteSecurityGroup")
def delete_security_group(call: Call) -> Params:
    group_id = call.params.get("GroupId")
    if group_id and _interfaces(call, "group", group_id):
        raise AwsError("DependencyViolation", f"resource {group_id} has a dependent object")
    return call.moto()


@handles("ec2", "DeleteNetworkInterface")
def delete_network_interface(call: Call) -> Params:
    interface_id = call.params["NetworkInterfaceId"]
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        eni = backend.enis.get(interface_id)
        if eni is not None and eni.instance is not None:
            raise AwsError(
                "InvalidParameterValue",
                f"Network interface '{interface_id}' is currently in use.",
            )
    return call.moto()
