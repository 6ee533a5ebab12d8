"""SendCommand and CancelCommand: scripts that run on machines, each in a thread."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.lifecycle import at_start, at_stop
from local_cloud.machines.contract import Outcome, Script
from local_cloud.services.ec2_model import instances, mine
from local_cloud.services.ssm_model import (
    FINAL,
    Command,
    Invocation,
    cancel_event,
    commands,
)

DOCUMENT = "AWS-RunShellScript"
#: AWS-RunShellScript's own default and limits of executionTimeout, in seconds.
EXECUTION_TIMEOUT, LONGEST = 3600, 172_800
NOT_MODELLED = ("ServiceRoleArn", "NotificationConfig", "CloudWatchOutputConfig",
                "AlarmConfiguration", "DocumentHash")  # fmt: skip


@handles("ssm", "SendCommand")
def send_command(call: Call) -> Params:
    ask = call.params
    if ask["DocumentName"].rsplit("/", 1)[-1] != DOCUMENT:
        raise AwsError(
            "InvalidDocument",
            f"Document with name {ask['DocumentName']} does not exist (the local cloud has"
            f" {DOCUMENT} only).",
        )
    if ask.get("DocumentVersion", "1") not in ("1", "$DEFAULT", "$LATEST"):
        raise AwsError(
            "InvalidDocumentVersion", f"The version {ask['DocumentVersion']} does not exist"
        )
    for name in NOT_MODELLED:
        if ask.get(name):
            raise not_modelled(f"{name} of SendCommand")
    chosen = _choose(call)
    command_id = str(uuid.uuid4())
    script = read_script(command_id, ask.get("Parameters", {}))
    command = _record(call, command_id, chosen)
    commands(call.cloud)[command_id] = command
    for instance_id in chosen:
        _run(call.cloud, command, command.invocations[instance_id], script)
    return {"Command": command_view(command)}


def _choose(call: Call) -> list[str]:
    """The machines meant, all online. Raises InvalidInstanceId for those that are not."""
    ask = call.params
    ids = list(ask.get("InstanceIds", []))
    if len(set(ids)) != len(ids):
        raise AwsError("DuplicateInstanceId", "You can't specify an instance ID more than once.")
    if ask.get("Targets"):
        return [*ids, *(one for one in _by_targets(call, ask["Targets"]) if one not in ids)]
    offline = [one for one in ids if not is_managed(call, one)]
    if not ids or offline:
        raise AwsError(
            "InvalidInstanceId",
            f"Instances [[{', '.join(offline)}]] not in a valid state for account {call.account}",
        )
    return ids


def _by_targets(call: Call, targets: list[Params]) -> list[str]:
    found = []
    for one in mine(call, instances(call.cloud)):
        wanted = True
        for target in targets:
            key, values = target.get("Key", ""), target.get("Values", [])
            if key.lower() == "instanceids":
                wanted &= one.id in values
            elif key.startswith("tag:"):
                wanted &= one.tags.get(key.removeprefix("tag:")) in values
            else:
                raise not_modelled(f"the target key {key}")
        if wanted and is_managed(call, one.id):
            found.append(one.id)
    return found


def is_managed(call: Call, instance_id: str) -> bool:
    """Whether SSM can reach the machine: it runs, its agent answers, it has a profile to do so."""
    one = instances(call.cloud).get(instance_id)
    return (
        one is not None
        and one.account == call.account
        and one.region == call.region
        and one.state == "running"
        and "IamInstanceProfile" in one.view
        and call.cloud.latency.is_past(one.agent_after)
        and call.cloud.machines.agent_is_online(instance_id)
    )


def read_script(command_id: str, parameters: dict[str, list[str]]) -> Script:
    """The document's parameters as a script; InvalidParameters for others than it has."""
    known = {"commands", "workingDirectory", "executionTimeout"}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise AwsError(
            "InvalidParameters", f"The document {DOCUMENT} has no parameter {', '.join(unknown)}"
        )
    if not parameters.get("commands"):
        raise AwsError("InvalidParameters", f"The document {DOCUMENT} needs the parameter commands")
    given = (parameters.get("executionTimeout") or [str(EXECUTION_TIMEOUT)])[0]
    if not re.fullmatch(r"[0-9]{1,6}", given) or not 1 <= int(given) <= LONGEST:
        raise AwsError(
            "InvalidParameters", f"executionTimeout {given!r}: from 1 to {LONGEST} seconds"
        )
    folder = (parameters.get("workingDirectory") or [""])[0]
    return Script(
        command_id=command_id,
        lines=tuple(parameters["commands"]),
        working_directory=folder or None,
        timeout_s=float(given),
    )


def _record(call: Call, command_id: str, chosen: list[str]) -> Command:
    ask, moment = call.params, datetime.now(UTC)
    timeout = ask.get("TimeoutSeconds", 3600)
    if not 30 <= timeout <= 2_592_000:
        raise AwsError("ValidationException", f"TimeoutSeconds {timeout}: from 30 to 2592000")
    view = {
        "CommandId": command_id, "DocumentName": DOCUMENT,
        "DocumentVersion": ask.get("DocumentVersion", "$DEFAULT"),
        "Comment": ask.get("Comment", ""), "Parameters": ask.get("Parameters", {}),
        "InstanceIds": ask.get("InstanceIds", []), "Targets": ask.get("Targets", []),
        "RequestedDateTime": moment, "ExpiresAfter": moment + timedelta(seconds=timeout),
        "TimeoutSeconds": timeout, "OutputS3Region": call.region,
        "OutputS3BucketName": ask.get("OutputS3BucketName", ""),
        "OutputS3KeyPrefix": ask.get("OutputS3KeyPrefix", ""),
        "MaxConcurrency": ask.get("MaxConcurrency", "50"), "MaxErrors": ask.get("MaxErrors", "0"),
        "ServiceRole": "", "DeliveryTimedOutCount": 0,
        "NotificationConfig": {
            "NotificationArn": "", "NotificationEvents": [], "NotificationType": "",
        },
        "CloudWatchOutputConfig": {
            "CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False,
        },
    }  # fmt: skip
    return Command(
        id=command_id, account=call.account, region=call.region, view=view,
        invocations={one: Invocation(instance_id=one) for one in chosen},
    )  # fmt: skip


def command_view(command: Command) -> Params:
    """What ListCommands shows."""
    found = command.invocations.values()
    status = command.status()
    return command.view | {
        "Status": status, "StatusDetails": status, "TargetCount": len(command.invocations),
        "CompletedCount": sum(1 for one in found if one.status in FINAL),
        "ErrorCount": sum(1 for one in found if one.status in ("Failed", "TimedOut")),
    }  # fmt: skip


def _run(cloud: Cloud, command: Command, invocation: Invocation, script: Script) -> None:
    cancel = cancel_event(command.id, invocation.instance_id)
    due = cloud.latency.due("command_pending")

    def work() -> None:
        cloud.latency.clock.wait_until(due, cancel)
        if cancel.is_set():
            _finish(invocation, "Cancelled", None)
            return
        invocation.started = datetime.now(UTC)
        invocation.status = "InProgress"
        try:
            outcome = cloud.machines.run(invocation.instance_id, script, cancel)
        except Exception as error:
            cloud.say(f"command {command.id} on {invocation.instance_id}: {error}")
            invocation.stderr = str(error).encode()
            _finish(invocation, "Failed", None)
            return
        _keep_output(cloud, command, invocation, outcome)
        _finish(invocation, outcome.status, outcome)

    cloud.background(f"command {command.id}", work)


def _finish(invocation: Invocation, status: str, outcome: Outcome | None) -> None:
    """The status comes last: whoever sees it sees the output too."""
    if outcome is not None:
        invocation.started, invocation.ended = outcome.started, outcome.ended
        invocation.exit_code = outcome.exit_code
        if status == "Failed":
            said = f"failed to run commands: exit status {outcome.exit_code}"
            invocation.stderr += said.encode()
    else:
        invocation.ended = datetime.now(UTC)
    invocation.status = status


def _keep_output(cloud: Cloud, command: Command, invocation: Invocation, outcome: Outcome) -> None:
    invocation.stdout, invocation.stderr = outcome.stdout, outcome.stderr
    bucket = command.view["OutputS3BucketName"]
    if not bucket:
        return
    prefix = command.view["OutputS3KeyPrefix"].strip("/")
    folder = "/".join(
        part
        for part in (prefix, command.id, invocation.instance_id,
                     "awsrunShellScript/0.awsrunShellScript")
        if part
    )  # fmt: skip
    for name, content in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        url = f"https://s3.{command.region}.amazonaws.com/{bucket}/{folder}/{name}"
        setattr(invocation, f"{name}_url", url)
        if not content:
            continue
        try:
            cloud.moto.invoke(
                "s3", "PutObject",
                {"Bucket": bucket, "Key": f"{folder}/{name}", "Body": content},
                region=command.region, account=command.account,
            )  # fmt: skip
        except AwsError as error:
            cloud.say(f"command {command.id}: its output was not kept in {bucket}: {error}")


@handles("ssm", "CancelCommand")
def cancel_command(call: Call) -> Params:
    command = commands(call.cloud).get(call.params["CommandId"])
    if command is None or (command.account, command.region) != (call.account, call.region):
        raise AwsError("InvalidCommandId", f"The command {call.params['CommandId']} does not exist")
    wanted = call.params.get("InstanceIds") or list(command.invocations)
    for instance_id in wanted:
        invocation = command.invocations.get(instance_id)
        if invocation is None:
            raise AwsError("InvalidInstanceId", f"The command was not sent to {instance_id}")
        if invocation.status not in FINAL:
            cancel_event(command.id, instance_id).set()
    return {}


@at_start
def end_lost_commands(cloud: Cloud) -> None:
    """What ran when an earlier cloud ended will never report."""
    for command in list(commands(cloud).values()):
        for invocation in command.invocations.values():
            if invocation.status not in FINAL:
                invocation.stderr += b"The local cloud ended while this command ran."
                _finish(invocation, "Failed", None)


@at_stop
def cancel_running_commands(cloud: Cloud) -> None:
    for command in list(commands(cloud).values()):
        for invocation in command.invocations.values():
            if invocation.status not in FINAL:
                cancel_event(command.id, invocation.instance_id).set()
