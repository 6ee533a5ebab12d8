"""What can be changed on an image: sharing, deprecation, disabling, protection."""

from __future__ import annotations

from datetime import UTC

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_images import LATEST_DEPRECATION, get_own_image
from local_cloud.services.ec2_model import now, refuse_dry_run, timestamp_text
from local_cloud.services.ec2_snapshots import changed_permissions


@handles("ec2", "ModifyImageAttribute")
def modify_image_attribute(call: Call) -> Params:
    ask = call.params
    image = get_own_image(call, ask["ImageId"])
    known = {"ImageId", "DryRun", "Attribute", "LaunchPermission", "OperationType", "UserIds",
             "UserGroups", "Description", "ImdsSupport", "Value"}  # fmt: skip
    for name in set(ask) - known:
        raise not_modelled(f"{name} in ModifyImageAttribute")
    imds = ask.get("ImdsSupport", {}).get("Value")
    if ask.get("Attribute") == "imdsSupport":
        imds = ask.get("Value", "")
    if imds is not None and imds != "v2.0":
        raise AwsError("InvalidParameterValue", f"Invalid value '{imds}' for imdsSupport: v2.0")
    refuse_dry_run(call)
    if imds is not None:
        image.view["ImdsSupport"] = imds
    if "Description" in ask:
        image.view["Description"] = ask["Description"].get("Value", "")
    elif ask.get("Attribute") == "description":
        image.view["Description"] = ask.get("Value", "")
    if any(name in ask for name in ("LaunchPermission", "UserIds", "UserGroups")):
        image.permissions = changed_permissions(image.permissions, ask, "LaunchPermission")
        image.view["Public"] = {"Group": "all"} in image.permissions
    return {}


@handles("ec2", "DescribeImageAttribute")
def describe_image_attribute(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    attribute = call.params["Attribute"]
    values: dict[str, Params] = {
        "description": {"Description": {"Value": image.view["Description"]}},
        "launchPermission": {"LaunchPermissions": image.permissions},
        "productCodes": {"ProductCodes": []},
        "bootMode": {"BootMode": {"Value": image.view.get("BootMode")}},
        "imdsSupport": {"ImdsSupport": {"Value": image.view.get("ImdsSupport")}},
        "sriovNetSupport": {"SriovNetSupport": {"Value": "simple"}},
        "deregistrationProtection": {"DeregistrationProtection": {"Value": image.protection}},
    }
    if attribute not in values:
        raise not_modelled(f"the image attribute {attribute}")
    return {"ImageId": image.id} | values[attribute]


@handles("ec2", "ResetImageAttribute")
def reset_image_attribute(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    image.permissions = []
    image.view["Public"] = False
    return {}


@handles("ec2", "DisableImage")
def disable_image(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    image.view["State"] = "disabled"
    image.permissions = []
    image.view["Public"] = False
    return {"Return": True}


@handles("ec2", "EnableImage")
def enable_image(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    if image.view["State"] == "disabled":
        image.view["State"] = "available"
    return {"Return": True}


@handles("ec2", "EnableImageDeprecation")
def enable_image_deprecation(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    at = call.params["DeprecateAt"].replace(tzinfo=UTC)
    if not now() <= at <= now() + LATEST_DEPRECATION:
        raise AwsError(
            "InvalidParameterValue",
            f"The deprecation time {timestamp_text(at)} is in the past, or over 10 years ahead.",
        )
    refuse_dry_run(call)
    image.view["DeprecationTime"] = timestamp_text(at)
    return {"Return": True}


@handles("ec2", "DisableImageDeprecation")
def disable_image_deprecation(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    image.view.pop("DeprecationTime", None)
    return {"Return": True}


@handles("ec2", "EnableImageDeregistrationProtection")
def enable_protection(call: Call) -> Params:
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    cooling = call.params.get("WithCooldown")
    image.protection = "enabled-with-cooldown" if cooling else "enabled-without-cooldown"
    return {"Return": image.protection}


@handles("ec2", "DisableImageDeregistrationProtection")
def disable_protection(call: Call) -> Params:
    """A cool-down of 24 hours is not waited for: the protection ends at once."""
    image = get_own_image(call, call.params["ImageId"])
    refuse_dry_run(call)
    image.protection = "disabled"
    return {"Return": "disabled"}
