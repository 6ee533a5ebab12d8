"""What a launch asks for, template and all, checked as RunInstances checks it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_base_images import ensure_base_images, public_parameters
from local_cloud.services.ec2_launch_disks import Disk, plan_disks
from local_cloud.services.ec2_launch_template import with_template
from local_cloud.services.ec2_model import Image, check_image_id, images, sees
from local_cloud.services.ec2_network import find_groups, find_subnet, find_zone
from local_cloud.services.visibility import sees_profile

#: Settings that would change what runs and that nothing here can honour.
REFUSED = (
    "KernelId", "RamdiskId", "ElasticGpuSpecification", "ElasticGpuSpecifications",
    "ElasticInferenceAccelerators", "LicenseSpecifications", "Ipv6AddressCount",
    "Ipv6Addresses", "SecondaryInterfaces", "EnablePrimaryIpv6", "InstanceRequirements",
)  # fmt: skip
USER_DATA_LIMIT = 16384


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A launch that can be done. `asked` are the merged parameters."""

    asked: Params
    image: Image
    instance_type: str
    type_details: Params
    subnet: Params
    groups: list[Params]
    interface: Params
    disks: list[Disk]
    user_data: str | None
    profile: Params | None
    spot: Params | None
    public_key: str
    template: dict[str, str]


def check_launch(call: Call) -> Launch:
    """Merge the launch template, check everything. Raises AwsError as RunInstances would."""
    asked, template = with_template(call, call.params)
    refuse_unmodelled(asked)
    image = get_launchable_image(call, asked.get("ImageId"))
    details = get_type(call, asked.get("InstanceType", "m1.small"))
    interface = _interface(asked)
    zone = find_zone(call, asked.get("Placement", {}))
    subnet = find_subnet(call, asked.get("SubnetId") or interface.get("SubnetId"), zone)
    groups = find_groups(
        call,
        asked.get("SecurityGroupIds") or interface.get("Groups") or [],
        asked.get("SecurityGroups", []),
        subnet,
    )
    return Launch(
        asked=asked,
        image=image,
        instance_type=details["InstanceType"],
        type_details=details,
        subnet=subnet,
        groups=groups,
        interface=interface,
        disks=plan_disks(call, image, asked.get("BlockDeviceMappings", [])),
        user_data=check_user_data(asked.get("UserData")),
        profile=find_profile(call, asked.get("IamInstanceProfile")),
        spot=_spot(asked.get("InstanceMarketOptions")),
        public_key=_public_key(call, asked.get("KeyName")),
        template=template,
    )


def refuse_unmodelled(asked: Params) -> None:
    """An error for what could not be honoured; nothing of it is dropped in silence."""
    for name in REFUSED:
        if asked.get(name):
            raise not_modelled(f"{name} of an instance")
    placement = asked.get("Placement", {})
    for name in ("GroupName", "GroupId", "HostId", "HostResourceGroupArn", "PartitionNumber"):
        if placement.get(name):
            raise not_modelled(f"Placement.{name} of an instance")
    if placement.get("Tenancy", "default") != "default":
        raise not_modelled(f"Placement.Tenancy {placement['Tenancy']}")
    if asked.get("HibernationOptions", {}).get("Configured"):
        raise not_modelled("hibernation")
    if asked.get("EnclaveOptions", {}).get("Enabled"):
        raise not_modelled("enclaves")
    if asked.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget"):
        raise not_modelled("capacity reservations")


def _interface(asked: Params) -> Params:
    """The one network interface, from its own list or from the instance's settings."""
    interfaces = asked.get("NetworkInterfaces") or []
    if len(interfaces) > 1:
        raise not_modelled("more than one network interface")
    if not interfaces:
        return {"PrivateIpAddress": asked.get("PrivateIpAddress")}
    only = dict(interfaces[0])
    if only.get("NetworkInterfaceId"):
        raise not_modelled("a launch with an interface made before")
    if only.get("DeviceIndex", 0) != 0:
        raise AwsError("InvalidParameterValue", "The primary interface has device index 0.")
    if asked.get("SubnetId") or asked.get("SecurityGroupIds"):
        raise AwsError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID or security groups may not be"
            " specified on the same request",
        )
    return only


def get_launchable_image(call: Call, image_id: str | None) -> Image:
    """The image, if the caller may launch from it now. `resolve:ssm:` names are followed."""
    if not image_id:
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
    if image_id.startswith("resolve:ssm:"):
        image_id = _resolve(call, image_id.removeprefix("resolve:ssm:"))
    check_image_id(image_id)
    ensure_base_images(call.cloud, call.region)
    image = images(call.cloud).get(image_id)
    if image is None or not is_usable(call, image):
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    state = "deregistered" if image.deregistered else image.view["State"]
    if state != "available":
        raise AwsError(
            "InvalidAMIID.Unavailable",
            f"The image ID '{image_id}' is not available: it is {state}",
        )
    return image


def is_usable(call: Call, image: Image) -> bool:
    """Whether the caller may use the image here, and finds it already."""
    return image.region == call.region and may_use(call, image) and sees(call, image)


def may_use(call: Call, image: Image) -> bool:
    """Whether the image is the caller's, public, or shared with the caller."""
    return (
        image.account == call.account
        or {"Group": "all"} in image.permissions
        or {"UserId": call.account} in image.permissions
    )


def _resolve(call: Call, name: str) -> str:
    public = public_parameters(call.cloud, call.region).get(name)
    if public is not None:
        return public
    try:
        found = call.moto({"Name": name}, action="GetParameter", service="ssm")
    except AwsError as error:
        raise AwsError(
            "InvalidParameterValue", f"Cannot resolve the parameter {name}: {error.message}"
        ) from error
    return str(found["Parameter"]["Value"])


def get_type(call: Call, name: str) -> Params:
    """What EC2 says of a machine type. Raises for a name that moto's table of types lacks."""
    try:
        found = call.moto({"InstanceTypes": [name]}, action="DescribeInstanceTypes")
        return dict(found["InstanceTypes"][0])
    except (AwsError, IndexError):
        raise AwsError(
            "InvalidParameterValue", f"Invalid value '{name}' for InstanceType."
        ) from None


def check_user_data(text: str | None) -> str | None:
    """User data as it came: base64 of at most 16 KiB."""
    if not text:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("InvalidParameterValue", "Invalid BASE64 encoding of user data") from None
    if len(raw) > USER_DATA_LIMIT:
        raise AwsError("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")
    return text


def find_profile(call: Call, named: Params | None) -> Params | None:
    """The instance profile asked for: its ARN, ID and role names."""
    if not named or not (named.get("Arn") or named.get("Name")):
        return None
    name = named.get("Name") or str(named["Arn"]).rsplit("/", 1)[-1]
    field = "name" if named.get("Name") else "arn"
    try:
        found = call.moto(
            {"InstanceProfileName": name}, action="GetInstanceProfile", service="iam"
        )["InstanceProfile"]
    except AwsError:
        found = None
    if found is not None and not sees_profile(call, name):
        found = None
    if found is None or named.get("Arn", found["Arn"]) != found["Arn"]:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({named.get('Name') or named.get('Arn')}) for parameter"
            f" iamInstanceProfile.{field} is invalid. Invalid IAM Instance Profile {field}",
        )
    return {
        "Arn": found["Arn"],
        "Id": found["InstanceProfileId"],
        "Name": found["InstanceProfileName"],
    }


def _public_key(call: Call, name: str | None) -> str:
    """The key pair's line for `authorized_keys`, or nothing where none is asked for."""
    if not name:
        return ""
    asked = {"KeyNames": [name], "IncludePublicKey": True}
    (pair,) = call.moto(asked, action="DescribeKeyPairs")["KeyPairs"]
    return " ".join([*pair["PublicKey"].split()[:2], name])


def _spot(market: Params | None) -> Params | None:
    if not market or market.get("MarketType") is None:
        return None
    if market["MarketType"] != "spot":
        raise not_modelled(f"the market type {market['MarketType']}")
    options = dict(market.get("SpotOptions") or {})
    options.setdefault("SpotInstanceType", "one-time")
    behavior = options.setdefault("InstanceInterruptionBehavior", "terminate")
    if options["SpotInstanceType"] == "one-time" and behavior != "terminate":
        raise AwsError(
            "InvalidParameterCombination",
            f"The interruption behavior {behavior} needs a persistent Spot request.",
        )
    if options.get("BlockDurationMinutes"):
        raise AwsError("InvalidParameterValue", "Spot blocks are no longer available.")
    return options
