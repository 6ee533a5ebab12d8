"""What a launch asks for, template and all, checked as RunInstances checks it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_base_images import ensure_base_images, public_parameters
from local_cloud.services.ec2_model import Image, images
from local_cloud.services.ec2_network import find_groups, find_subnet, moto_ec2
from local_cloud.services.ec2_volumes import find_readable_snapshot

#: Settings that would change what runs and that nothing here can honour.
REFUSED = (
    "KernelId", "RamdiskId", "ElasticGpuSpecification", "ElasticGpuSpecifications",
    "ElasticInferenceAccelerators", "LicenseSpecifications", "Ipv6AddressCount",
    "Ipv6Addresses", "SecondaryInterfaces", "EnablePrimaryIpv6", "InstanceRequirements",
)  # fmt: skip
USER_DATA_LIMIT = 16384


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One volume of a launch."""

    device: str
    ebs: Params
    size_gib: int
    snapshot_id: str | None
    delete_on_termination: bool


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
    template: dict[str, str]


def check_launch(call: Call) -> Launch:
    """Merge the launch template, check everything. Raises AwsError as RunInstances would."""
    asked, template = with_template(call, call.params)
    refuse_unmodelled(asked)
    image = get_launchable_image(call, asked.get("ImageId"))
    details = get_type(call, asked.get("InstanceType", "m1.small"))
    interface = _interface(asked)
    zone = asked.get("Placement", {}).get("AvailabilityZone")
    subnet = find_subnet(call, asked.get("SubnetId") or interface.get("SubnetId"), zone)
    groups = find_groups(
        call,
        asked.get("SecurityGroupIds") or interface.get("Groups") or [],
        asked.get("SecurityGroups", []),
        subnet,
    )
    _check_key(call, asked.get("KeyName"))
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
        template=template,
    )


def with_template(call: Call, params: Params) -> tuple[Params, dict[str, str]]:
    """The parameters over their launch template's data, and the tags AWS adds for the template."""
    named = params.get("LaunchTemplate")
    if not named:
        return params, {}
    if bool(named.get("LaunchTemplateId")) == bool(named.get("LaunchTemplateName")):
        raise AwsError(
            "InvalidParameterCombination",
            "Specify either the launch template's ID or its name, not both",
        )
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = _find_template(backend, named)
        version = named.get("Version") or "$Default"
        if version not in ("$Latest", "$Default") and not (
            version.isdigit() and 1 <= int(version) <= len(template.versions)
        ):
            raise AwsError(
                "InvalidLaunchTemplateId.VersionNotFound",
                f"Could not find the specified version {version} for the launch template with ID"
                f" {template.id}.",
            )
        chosen = template.get_version(version)
        data = {key: value for key, value in chosen.data.items() if value is not None}
        number = chosen.number
    merged = data | {key: value for key, value in params.items() if key != "LaunchTemplate"}
    if data.get("UserData") is not None and "UserData" not in params:
        merged["UserData"] = str(data["UserData"])
    if "NetworkInterfaces" in params or "SubnetId" in params:
        kept = params.get("NetworkInterfaces")
        merged["NetworkInterfaces"] = kept if kept is not None else []
        if kept is None and data.get("NetworkInterfaces"):
            merged["NetworkInterfaces"] = [dict(data["NetworkInterfaces"][0])]
            merged["NetworkInterfaces"][0].pop("SubnetId", None)
    given = {spec["ResourceType"] for spec in params.get("TagSpecifications", [])}
    merged["TagSpecifications"] = list(params.get("TagSpecifications", [])) + [
        spec
        for spec in data.get("TagSpecifications", [])
        if spec["ResourceType"] not in given and spec["ResourceType"] != "launch-template"
    ]
    return merged, {
        "aws:ec2launchtemplate:id": template.id,
        "aws:ec2launchtemplate:version": str(number),
    }


def _find_template(backend: Any, named: Params) -> Any:
    wanted_id, wanted_name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    for template in backend.launch_templates.values():
        if wanted_id in (None, template.id) and wanted_name in (None, template.name):
            return template
    if wanted_id:
        raise AwsError(
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {wanted_id}, does not exist.",
        )
    raise AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {wanted_name}, does not exist.",
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
    if not image_id.startswith("ami-"):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    ensure_base_images(call.cloud, call.region)
    image = images(call.cloud).get(image_id)
    if image is None or image.region != call.region or not may_use(call, image):
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    state = "deregistered" if image.deregistered else image.view["State"]
    if state != "available":
        raise AwsError(
            "InvalidAMIID.Unavailable",
            f"The image ID '{image_id}' is not available: it is {state}",
        )
    return image


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


def _check_key(call: Call, name: str | None) -> None:
    if name:
        call.moto({"KeyNames": [name]}, action="DescribeKeyPairs")


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


def plan_disks(call: Call, image: Image, asked: list[Params]) -> list[Disk]:
    """The image's disks, changed and completed by the mappings asked for; the root comes first."""
    merged: dict[str, Params] = {
        mapping["DeviceName"]: dict(mapping.get("Ebs", {}))
        for mapping in image.view["BlockDeviceMappings"]
        if "Ebs" in mapping
    }
    root = image.view["RootDeviceName"]
    for mapping in asked:
        device = mapping.get("DeviceName")
        if not device:
            raise AwsError("MissingParameter", "The request must contain the parameter deviceName")
        if mapping.get("NoDevice") is not None:
            if device == root:
                raise AwsError("InvalidBlockDeviceMapping", "The root device cannot be left out")
            merged.pop(device, None)
        elif mapping.get("VirtualName"):
            raise not_modelled("instance store disks (VirtualName)")
        else:
            merged[device] = _overlay(merged.get(device, {}), mapping.get("Ebs", {}))
    names = sorted(merged, key=lambda name: (name != root, name))
    return [_disk(call, name, merged[name]) for name in names]


def _overlay(base: Params, ebs: Params) -> Params:
    """The image's settings under those asked for; another volume type brings its own defaults."""
    kept = dict(base)
    if ebs.get("VolumeType", kept.get("VolumeType")) != kept.get("VolumeType"):
        kept.pop("Iops", None)
        kept.pop("Throughput", None)
    if base.get("SnapshotId") and ebs.get("SnapshotId", base["SnapshotId"]) != base["SnapshotId"]:
        raise AwsError("InvalidBlockDeviceMapping", "snapshotId cannot be modified on root device")
    if base.get("Encrypted") and ebs.get("Encrypted") is False:
        raise AwsError(
            "InvalidBlockDeviceMapping", "The encrypted flag cannot be false for this snapshot"
        )
    return kept | ebs


def _disk(call: Call, device: str, ebs: Params) -> Disk:
    snapshot_id = ebs.get("SnapshotId")
    smallest = 1
    if snapshot_id:
        smallest = find_readable_snapshot(call, snapshot_id).view["VolumeSize"]
    size = ebs.get("VolumeSize") or (smallest if snapshot_id else None)
    if size is None:
        raise AwsError(
            "MissingParameter",
            f"The request must contain the parameter size or snapshotId ({device})",
        )
    if size < smallest:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{snapshot_id}', expect size >="
            f" {smallest}GB",
        )
    return Disk(
        device=device, ebs=ebs, size_gib=size, snapshot_id=snapshot_id,
        delete_on_termination=ebs.get("DeleteOnTermination", True),
    )  # fmt: skip
