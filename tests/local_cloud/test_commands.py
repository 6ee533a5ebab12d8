"""SSM's commands through its API: what is accepted, statuses, limits, who can be reached."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.machines.contract import CommandStatus, Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.local_cloud.samples import error_code, launch, profile, wait_until
from tests.waiting import until


@pytest.fixture
def managed(aws: Any) -> str:
    """A machine that SSM can reach."""
    instance_id = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, instance_id, "running")
    return instance_id


def answer(
    cloud: Cloud, *, status: CommandStatus = "Success", code: int = 0, stdout: bytes = b"",
    stderr: bytes = b"",
) -> None:  # fmt: skip
    """Let the recorded machines answer every script so."""
    assert isinstance(cloud.machines, RecordedMachines)
    now = datetime.now(UTC)
    cloud.machines.answer = lambda instance_id, script: Outcome(
        status=status, exit_code=code, stdout=stdout, stderr=stderr, started=now, ended=now
    )


def send(aws: Any, instance_id: str, *lines: str, **params: Any) -> str:
    asked: dict[str, Any] = {
        "InstanceIds": [instance_id], "DocumentName": "AWS-RunShellScript",
        "Parameters": {"commands": list(lines)},
    } | params  # fmt: skip
    return str(aws("ssm").send_command(**asked)["Command"]["CommandId"])


def end_of(aws: Any, command_id: str, instance_id: str) -> dict[str, Any]:
    """The invocation, once it is over."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = aws("ssm").get_command_invocation(
            CommandId=command_id, InstanceId=instance_id
        )
        under_way = found["Status"] in ("Pending", "InProgress", "Delayed", "Cancelling")
        return None if under_way else found

    return until(look)


def test_a_script_reaches_the_machine_as_it_was_sent(cloud: Cloud, aws: Any, managed: str) -> None:
    parameters = {
        "commands": ["echo one", "echo two"], "workingDirectory": ["/srv"],
        "executionTimeout": ["77"],
    }  # fmt: skip
    ended = end_of(aws, send(aws, managed, Parameters=parameters), managed)
    assert (ended["Status"], ended["ResponseCode"]) == ("Success", 0)
    assert isinstance(cloud.machines, RecordedMachines)
    ((instance_id, script),) = cloud.machines.scripts
    assert instance_id == managed
    assert script.lines == ("echo one", "echo two")
    assert (script.working_directory, script.timeout_s) == ("/srv", 77)


@pytest.mark.parametrize(
    ("status", "code", "details"),
    [("Failed", 3, "Failed"), ("TimedOut", 137, "Execution Timed Out")],
)
def test_what_ends_badly_says_how(
    cloud: Cloud, aws: Any, managed: str, status: CommandStatus, code: int, details: str
) -> None:
    answer(cloud, status=status, code=code, stderr=b"oh no\n")
    command_id = send(aws, managed, "false")
    ended = end_of(aws, command_id, managed)
    assert (ended["Status"], ended["StatusDetails"], ended["ResponseCode"]) == (
        status, details, code,
    )  # fmt: skip
    assert ended["StandardErrorContent"].startswith("oh no\n")
    (listed,) = aws("ssm").list_commands(CommandId=command_id)["Commands"]
    assert (listed["Status"], listed["ErrorCount"]) == (status, 1)


def test_long_output_is_cut_as_the_agent_cuts_it(cloud: Cloud, aws: Any, managed: str) -> None:
    answer(cloud, stdout=b"x" * 30_000, stderr=b"y" * 30_000)
    command_id = send(aws, managed, "seq 1 100000")
    ended = end_of(aws, command_id, managed)
    assert len(ended["StandardOutputContent"]) == 24_000
    assert len(ended["StandardErrorContent"]) == 8_000
    assert ended["StandardOutputContent"].endswith("x--output truncated--")
    (listed,) = aws("ssm").list_command_invocations(CommandId=command_id, Details=True)[
        "CommandInvocations"
    ]
    assert len(listed["CommandPlugins"][0]["Output"]) == 2_500


def test_whole_output_goes_to_the_bucket_asked_for(cloud: Cloud, aws: Any, managed: str) -> None:
    answer(cloud, stdout=b"z" * 30_000)
    aws("s3").create_bucket(
        Bucket="outputs", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )
    command_id = send(aws, managed, "x", OutputS3BucketName="outputs", OutputS3KeyPrefix="a")
    ended = end_of(aws, command_id, managed)
    key = f"a/{command_id}/{managed}/awsrunShellScript/0.awsrunShellScript/stdout"
    assert ended["StandardOutputUrl"].endswith(f"/outputs/{key}")
    assert aws("s3").get_object(Bucket="outputs", Key=key)["Body"].read() == b"z" * 30_000


def test_a_command_is_cancelled_while_it_runs(cloud: Cloud, aws: Any, managed: str) -> None:
    started = threading.Event()

    def run(instance_id: str, script: Script, cancel: threading.Event) -> Outcome:
        now = datetime.now(UTC)
        started.set()
        assert cancel.wait(300)
        return Outcome(
            status="Cancelled", exit_code=-1, stdout=b"", stderr=b"", started=now, ended=now
        )

    cloud.machines.run = run  # type: ignore[method-assign]
    command_id = send(aws, managed, "sleep 1000")
    assert started.wait(300)
    shown = aws("ssm").get_command_invocation(CommandId=command_id, InstanceId=managed)
    assert shown["Status"] == "InProgress"
    aws("ssm").cancel_command(CommandId=command_id)
    assert end_of(aws, command_id, managed)["Status"] == "Cancelled"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DocumentName": "AWS-RunPowerShellScript"}, "InvalidDocument"),
        ({"Parameters": {}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["x"], "colour": ["red"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["x"], "executionTimeout": ["soon"]}}, "InvalidParameters"),
        ({"TimeoutSeconds": 10}, "ValidationException"),
        ({"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceId"),
        ({"CloudWatchOutputConfig": {"CloudWatchOutputEnabled": True}}, "NotImplemented"),
    ],
)
def test_a_command_that_ssm_would_refuse_is_refused(
    aws: Any, managed: str, params: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        send(aws, managed, "true", **params)
    assert error_code(caught.value) == code


def test_only_a_running_machine_with_a_profile_is_reached(aws: Any, managed: str) -> None:
    without = launch(aws)
    wait_until(aws, without, "running")
    ssm = aws("ssm")

    def reached(*filters: dict[str, Any]) -> list[str]:
        found = ssm.describe_instance_information(Filters=list(filters))
        return [one["InstanceId"] for one in found["InstanceInformationList"]]

    assert reached() == [managed]
    assert reached({"Key": "InstanceIds", "Values": [without]}) == []
    with pytest.raises(ClientError) as caught:
        send(aws, without, "true")
    assert error_code(caught.value) == "InvalidInstanceId"
    aws("ec2").terminate_instances(InstanceIds=[managed])
    wait_until(aws, managed, "terminated")
    assert reached() == []


def test_an_invocation_that_is_not_there_says_so(aws: Any, managed: str) -> None:
    command_id = send(aws, managed, "true")
    nobody = {"CommandId": command_id, "InstanceId": "i-0123456789abcdef0"}
    nothing = {"CommandId": "00000000-0000-0000-0000-000000000000", "InstanceId": managed}
    for other in (nobody, nothing):
        with pytest.raises(ClientError) as caught:
            aws("ssm").get_command_invocation(**other)
        assert error_code(caught.value) == "InvocationDoesNotExist"


def test_the_accounts_own_parameters_live_beside_awss(aws: Any) -> None:
    ssm = aws("ssm")
    ssm.put_parameter(Name="/mine/one", Value="1", Type="String")
    found = ssm.get_parameters(Names=["/mine/one", "/mine/two"])
    assert [p["Value"] for p in found["Parameters"]] == ["1"]
    assert found["InvalidParameters"] == ["/mine/two"]
    folder = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
    pages: Callable[..., Any] = ssm.get_paginator("get_parameters_by_path").paginate
    names = [p["Name"] for page in pages(Path=folder, Recursive=True) for p in page["Parameters"]]
    assert f"{folder}/gpu/recommended/image_id" in names
    assert f"{folder}/recommended/image_id" in names
