"""Attributes of machines: shown one by one, and changed."""

from __future__ import annotations

import base64
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_instances import incorrect_state
from local_cloud.services.ec2_launch import check_user_data, get_type
from local_cloud.services.ec2_model import (
    Instance,
    get_instances,
    now,
    refuse_dry_run,
    volumes,
)

#: As much of it as EC2 keeps.
MOST_CONSOLE_BYTES = 64 * 1024


@handles("ec2", "DescribeInstanceAttribute")
def describe_instance_attribute(call: Call) -> Params:
    one = get_instances(call, [call.params["InstanceId"]])[0]
    values: dict[str, Params] = {
        "instanceType": {"InstanceType": {"Value": one.view["InstanceType"]}},
        "userData": {"UserData": {"Value": one.user_data} if one.user_data else {}},
        "disableApiTermination": {"DisableApiTermination": {"Value": one.no_terminate}},
        "disableApiStop": {"DisableApiStop": {"Value": one.no_stop}},
        "instanceInitiatedShutdownBehavior": {
            "InstanceInitiatedShutdownBehavior": {"Value": one.shutdown_behavior}
        },
        "rootDeviceName": {"RootDeviceName": {"Value": one.view["RootDeviceName"]}},
        "blockDeviceMapping": {"BlockDeviceMappings": one.view["BlockDeviceMappings"]},
        "sourceDestCheck": {"SourceDestCheck": {"Value": one.view["SourceDestCheck"]}},
        "groupSet": {"Groups": one.view["SecurityGroups"]},
        "ebsOptimized": {"EbsOptimized": {"Value": one.view["EbsOptimized"]}},
        "enaSupport": {"EnaSupport": {"Value": True}},
        "enclaveOptions": {"EnclaveOptions": {"Enabled": False}},
        "kernel": {"KernelId": {}},
        "ramdisk": {"RamdiskId": {}},
        "productCodes": {"ProductCodes": []},
        "sriovNetSupport": {"SriovNetSupport": {}},
    }
    attribute = call.params["Attribute"]
    if attribute not in values:
        raise AwsError(
            "InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid."
        )
    return {"InstanceId": one.id} | values[attribute]


@handles("ec2", "ModifyInstanceAttribute")
def modify_instance_attribute(call: Call) -> Params:
    ask = _as_named_value(call.params)
    one = get_instances(call, [ask["InstanceId"]])[0]
    known = {"InstanceId", "DryRun", "DisableApiTermination", "DisableApiStop", "InstanceType",
             "InstanceInitiatedShutdownBehavior", "UserData", "SourceDestCheck", "EbsOptimized",
             "Groups", "BlockDeviceMappings"}  # fmt: skip
    for name in set(ask) - known:
        raise not_modelled(f"{name} in ModifyInstanceAttribute")
    if {"InstanceType", "UserData", "EbsOptimized"} & set(ask) and one.state != "stopped":
        raise incorrect_state(one, "changed in this attribute (it must be stopped)")
    refuse_dry_run(call)
    if "InstanceType" in ask:
        one.view["InstanceType"] = get_type(call, ask["InstanceType"]["Value"])["InstanceType"]
    if "UserData" in ask:
        one.user_data = check_user_data(_user_data_text(ask["UserData"].get("Value")))
    if "DisableApiTermination" in ask:
        one.no_terminate = bool(ask["DisableApiTermination"].get("Value"))
    if "DisableApiStop" in ask:
        one.no_stop = bool(ask["DisableApiStop"].get("Value"))
    if "InstanceInitiatedShutdownBehavior" in ask:
        one.shutdown_behavior = ask["InstanceInitiatedShutdownBehavior"]["Value"]
    for name in ("SourceDestCheck", "EbsOptimized"):
        if name in ask:
            one.view[name] = bool(ask[name].get("Value"))
    if "Groups" in ask:
        raise not_modelled("changing an instance's security groups")
    for mapping in ask.get("BlockDeviceMappings", []):
        _keep_or_drop(call, one, mapping)
    return {}


def _as_named_value(params: Params) -> Params:
    """The older form, `Attribute` with `Value`, as the newer one."""
    if "Attribute" not in params:
        return params
    name = params["Attribute"][0].upper() + params["Attribute"][1:]
    value: Any = params.get("Value")
    if name in ("DisableApiTermination", "DisableApiStop", "SourceDestCheck", "EbsOptimized"):
        value = str(value).lower() == "true"
    rest = {key: item for key, item in params.items() if key not in ("Attribute", "Value")}
    return rest | {name: {"Value": value}}


def _user_data_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None else str(value)


def _keep_or_drop(call: Call, one: Instance, mapping: Params) -> None:
    """Change whether a volume is deleted with its machine."""
    wanted = mapping.get("Ebs", {}).get("DeleteOnTermination")
    for held in one.view["BlockDeviceMappings"]:
        if held["DeviceName"] == mapping.get("DeviceName") and wanted is not None:
            held["Ebs"]["DeleteOnTermination"] = wanted
            attachment = volumes(call.cloud)[held["Ebs"]["VolumeId"]].view["Attachments"][0]
            attachment["DeleteOnTermination"] = wanted
            return
    raise AwsError(
        "InvalidInstanceAttributeValue",
        f"No device is currently mapped at {mapping.get('DeviceName')}",
    )


@handles("ec2", "ModifyInstanceMetadataOptions")
def modify_instance_metadata_options(call: Call) -> Params:
    one = get_instances(call, [call.params["InstanceId"]])[0]
    refuse_dry_run(call)
    names = ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "HttpProtocolIpv6",
             "InstanceMetadataTags")  # fmt: skip
    one.view["MetadataOptions"].update({n: call.params[n] for n in names if n in call.params})
    return {"InstanceId": one.id, "InstanceMetadataOptions": dict(one.view["MetadataOptions"])}


@handles("ec2", "DescribeInstanceCreditSpecifications")
def describe_credit_specifications(call: Call) -> Params:
    chosen = get_instances(call, call.params.get("InstanceIds", []))
    burstable = [one for one in chosen if one.view["InstanceType"].startswith("t")]
    return {
        "InstanceCreditSpecifications": [
            {"InstanceId": one.id, "CpuCredits": "unlimited"} for one in burstable
        ]
    }


@handles("ec2", "GetInstanceMetadataDefaults")
def get_instance_metadata_defaults(call: Call) -> Params:
    del call
    return {"AccountLevel": {}}


@handles("ec2", "GetConsoleOutput")
def get_console_output(call: Call) -> Params:
    """The end of what the console of a machine that runs would show; of others, no output yet."""
    one = get_instances(call, [call.params["InstanceId"]])[0]
    refuse_dry_run(call)
    said = call.cloud.machines.console(one.id)[-MOST_CONSOLE_BYTES:]
    if not said:
        return {"InstanceId": one.id, "Timestamp": one.view["LaunchTime"]}
    return {"InstanceId": one.id, "Timestamp": now(), "Output": base64.b64encode(said).decode()}
