"""What became of commands, and which machines SSM can reach."""

from __future__ import annotations

from datetime import UTC, datetime

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_filters import page
from local_cloud.services.ec2_model import Instance, instances, mine
from local_cloud.services.ssm_model import (
    OUTPUT_LIMIT,
    PLUGIN,
    STDERR_LIMIT,
    STDOUT_LIMIT,
    Command,
    Invocation,
    commands,
    cut,
    elapsed,
    iso,
)
from local_cloud.services.ssm_send import command_view, is_managed


def _mine(call: Call) -> list[Command]:
    """The caller's commands, the newest first."""
    found = [
        one
        for one in list(commands(call.cloud).values())
        if (one.account, one.region) == (call.account, call.region)
    ]
    return found[::-1]


def _chosen(call: Call) -> list[Command]:
    wanted = call.params.get("CommandId")
    found = [one for one in _mine(call) if wanted in (None, one.id)]
    if wanted and not found:
        raise AwsError("InvalidCommandId", f"The command {wanted} does not exist")
    instance_id = call.params.get("InstanceId")
    return [one for one in found if instance_id is None or instance_id in one.invocations]


@handles("ssm", "GetCommandInvocation")
def get_command_invocation(call: Call) -> Params:
    command_id, instance_id = call.params["CommandId"], call.params["InstanceId"]
    command = commands(call.cloud).get(command_id)
    mine = command is not None and (command.account, command.region) == (call.account, call.region)
    if command is None or not mine or instance_id not in command.invocations:
        raise AwsError(
            "InvocationDoesNotExist",
            f"The command {command_id} has no invocation on {instance_id}",
        )
    if call.params.get("PluginName", PLUGIN) != PLUGIN:
        raise AwsError("InvalidPluginName", f"The command has only the plugin {PLUGIN}")
    one = command.invocations[instance_id]
    status = one.status
    return {
        "CommandId": command_id, "InstanceId": instance_id, "Comment": command.view["Comment"],
        "DocumentName": command.view["DocumentName"],
        "DocumentVersion": command.view["DocumentVersion"], "PluginName": PLUGIN,
        "ResponseCode": one.exit_code, "ExecutionStartDateTime": iso(one.started),
        "ExecutionElapsedTime": elapsed(one), "ExecutionEndDateTime": iso(one.ended),
        "Status": status, "StatusDetails": one.details,
        "StandardOutputContent": cut(one.stdout, STDOUT_LIMIT),
        "StandardOutputUrl": one.stdout_url,
        "StandardErrorContent": cut(one.stderr, STDERR_LIMIT),
        "StandardErrorUrl": one.stderr_url,
        "CloudWatchOutputConfig": command.view["CloudWatchOutputConfig"],
    }  # fmt: skip


@handles("ssm", "ListCommands")
def list_commands(call: Call) -> Params:
    shown = [command_view(one) for one in _chosen(call)]
    return page(call, _by_filters(call, shown), "Commands")


@handles("ssm", "ListCommandInvocations")
def list_command_invocations(call: Call) -> Params:
    details = bool(call.params.get("Details"))
    instance_id = call.params.get("InstanceId")
    shown = [
        _invocation_view(call, command, one, details=details)
        for command in _chosen(call)
        for one in command.invocations.values()
        if instance_id in (None, one.instance_id)
    ]
    return page(call, _by_filters(call, shown), "CommandInvocations")


def _invocation_view(call: Call, command: Command, one: Invocation, *, details: bool) -> Params:
    machine = instances(call.cloud).get(one.instance_id)
    view = {
        "CommandId": command.id, "InstanceId": one.instance_id,
        "InstanceName": machine.tags.get("Name", "") if machine else "",
        "Comment": command.view["Comment"], "DocumentName": command.view["DocumentName"],
        "DocumentVersion": command.view["DocumentVersion"],
        "RequestedDateTime": command.view["RequestedDateTime"], "Status": one.status,
        "StatusDetails": one.details, "StandardOutputUrl": one.stdout_url,
        "StandardErrorUrl": one.stderr_url, "ServiceRole": "", "CommandPlugins": [],
        "NotificationConfig": command.view["NotificationConfig"],
        "CloudWatchOutputConfig": command.view["CloudWatchOutputConfig"],
    }  # fmt: skip
    if details:
        output = one.stdout
        if one.stderr:
            output += b"\n----------ERROR-------\n" + one.stderr
        plugin = {
            "Name": PLUGIN, "Status": one.status, "StatusDetails": one.details,
            "ResponseCode": one.exit_code, "Output": cut(output, OUTPUT_LIMIT),
            "StandardOutputUrl": one.stdout_url, "StandardErrorUrl": one.stderr_url,
            "OutputS3Region": command.region,
            "OutputS3BucketName": command.view["OutputS3BucketName"],
            "OutputS3KeyPrefix": command.view["OutputS3KeyPrefix"],
        }  # fmt: skip
        if one.started:
            plugin["ResponseStartDateTime"] = one.started
        if one.ended:
            plugin["ResponseFinishDateTime"] = one.ended
        view["CommandPlugins"] = [plugin]
    return view


def _by_filters(call: Call, shown: list[Params]) -> list[Params]:
    for one in call.params.get("Filters", []):
        key, value = one["key"], one["value"]
        if key == "Status":
            shown = [item for item in shown if item["Status"] == value]
        elif key == "DocumentName":
            shown = [item for item in shown if item["DocumentName"] == value]
        elif key in ("InvokedAfter", "InvokedBefore"):
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
            after = key == "InvokedAfter"
            shown = [item for item in shown if (item["RequestedDateTime"] > moment) == after]
        else:
            raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid here")
    return shown


@handles("ssm", "DescribeInstanceInformation")
def describe_instance_information(call: Call) -> Params:
    found = [one for one in mine(call, instances(call.cloud)) if is_managed(call, one.id)]
    for key, values in _information_filters(call):
        if key == "InstanceIds":
            found = [one for one in found if one.id in values]
        elif key.startswith("tag:"):
            found = [one for one in found if one.tags.get(key.removeprefix("tag:")) in values]
        elif key == "tag-key":
            found = [one for one in found if set(values) & set(one.tags)]
        elif key in ("PingStatus", "PlatformTypes", "ResourceType"):
            same = {"PingStatus": "Online", "PlatformTypes": "Linux", "ResourceType": "EC2Instance"}
            found = found if same[key] in values else []
        else:
            raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid here")
    return page(call, [_information(one) for one in found], "InstanceInformationList")


def _information_filters(call: Call) -> list[tuple[str, list[str]]]:
    older = [
        (one["key"], one["valueSet"])
        for one in call.params.get("InstanceInformationFilterList", [])
    ]
    return older + [(one["Key"], one["Values"]) for one in call.params.get("Filters", [])]


def _information(one: Instance) -> Params:
    amazon_linux_2 = "amzn2" in str(one.view.get("PlatformDetails", ""))
    return {
        "InstanceId": one.id, "PingStatus": "Online", "LastPingDateTime": datetime.now(UTC),
        "AgentVersion": "3.3.3050.0", "IsLatestVersion": True, "PlatformType": "Linux",
        "PlatformName": "Amazon Linux", "PlatformVersion": "2" if amazon_linux_2 else "2023",
        "ResourceType": "EC2Instance", "IPAddress": one.view["PrivateIpAddress"],
        "ComputerName": one.view["PrivateDnsName"], "SourceId": one.id,
        "SourceType": "AWS::EC2::Instance",
    }  # fmt: skip
