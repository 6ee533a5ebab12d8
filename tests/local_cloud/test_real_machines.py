"""The whole local cloud with machines that run, through the AWS CLI and plain boto3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests.local_cloud.conftest import Process, client_of, local_cloud
from tests.local_cloud.samples import launch, profile, wait_until
from tests.local_cloud.test_commands import end_of, send
from tests.waiting import PATIENT, until

pytestmark = pytest.mark.machines

STORY = r"""
set -e
trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
  "Principal":{"Service":"ec2.amazonaws.com"}}]}'
aws iam create-role --role-name m --assume-role-policy-document "$trust" > /dev/null
aws iam create-instance-profile --instance-profile-name m > /dev/null
aws iam add-role-to-instance-profile --instance-profile-name m --role-name m
start() {
  aws ec2 run-instances --image-id $1 --instance-type t3.micro --iam-instance-profile Name=m \
    --query 'Instances[0].InstanceId' --output text
}
online() {
  until [ "$(aws ssm describe-instance-information --filters Key=InstanceIds,Values=$1 \
    --query 'InstanceInformationList[].PingStatus' --output text)" = Online ]; do sleep 0.1; done
}
tell() {
  command=$(aws ssm send-command --instance-ids $1 --document-name AWS-RunShellScript \
    --parameters "commands=[\"$2\"]" --query Command.CommandId --output text)
  aws ssm wait command-executed --command-id $command --instance-id $1
  aws ssm get-command-invocation --command-id $command --instance-id $1 \
    --query StandardOutputContent --output text
}
base=$(aws ssm get-parameter --query Parameter.Value --output text \
  --name /aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id)
first=$(start $base)
online $first
tell $first 'echo written-by-the-first > /srv/note'
image=$(aws ec2 create-image --instance-id $first --name note --query ImageId --output text)
aws ec2 wait image-available --image-ids $image
aws ec2 terminate-instances --instance-ids $first > /dev/null
aws ec2 wait instance-terminated --instance-ids $first
second=$(start $image)
online $second
tell $second 'cat /srv/note; hostname'
aws ec2 terminate-instances --instance-ids $second > /dev/null
aws ec2 wait instance-terminated --instance-ids $second
"""


@pytest.fixture
def aws(real_cloud: Cloud) -> Any:
    return lambda service, **options: client_of(real_cloud.endpoint, service, **options)


@pytest.fixture
def managed(aws: Any) -> str:
    """A machine that runs and that SSM reaches."""
    instance_id = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, instance_id, "running")
    wait_until_online(aws, instance_id)
    return instance_id


def wait_until_online(aws: Any, *ids: str) -> None:
    def online() -> set[str]:
        found = aws("ssm").describe_instance_information()["InstanceInformationList"]
        return {one["InstanceId"] for one in found}

    until(lambda: set(ids) <= online())


def test_the_aws_cli_reads_back_from_the_image_what_a_command_wrote() -> None:
    ran = local_cloud("run", "--", "sh", "-c", STORY)
    assert ran.returncode == 0, ran.stderr
    assert "written-by-the-first" in ran.stdout


def test_commands_end_as_their_scripts_do(aws: Any, managed: str) -> None:
    failed = end_of(aws, send(aws, managed, "false"), managed)
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 1)
    late = {"commands": ["sleep 60"], "executionTimeout": ["1"]}
    timed_out = end_of(aws, send(aws, managed, Parameters=late), managed)
    assert timed_out["Status"] == "TimedOut"
    long = end_of(aws, send(aws, managed, "head -c 30000 /dev/zero | tr '\\0' x"), managed)
    assert len(long["StandardOutputContent"]) == 24_000
    command_id = send(aws, managed, "sleep 60")
    aws("ssm").cancel_command(CommandId=command_id)
    assert end_of(aws, command_id, managed)["Status"] == "Cancelled"


def test_a_machine_knows_itself_and_its_role(aws: Any, managed: str) -> None:
    lines = (
        "u=http://169.254.169.254/latest",
        "curl -s -o /dev/null -w '%{http_code}\\n' $u/meta-data/instance-id",
        "t=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $u/api/token)",
        "h=\"X-aws-ec2-metadata-token: $t\"",
        "curl -s -H \"$h\" $u/meta-data/instance-id; echo",
        "k=$(curl -s -H \"$h\" $u/meta-data/iam/security-credentials/machine)",
        "field() { echo \"$k\" | sed -n \"s/.*\\\"$1\\\": \\\"\\([^\\\"]*\\)\\\".*/\\1/p\"; }",
        "curl -s --aws-sigv4 aws:amz:ap-northeast-2:sts"
        " -u \"$(field AccessKeyId):$(field SecretAccessKey)\""
        " -H \"X-Amz-Security-Token: $(field Token)\""
        " -d 'Action=GetCallerIdentity&Version=2011-06-15'"
        " https://sts.ap-northeast-2.amazonaws.com/",
    )  # fmt: skip
    said = end_of(aws, send(aws, managed, *lines), managed)["StandardOutputContent"]
    assert said.splitlines()[:2] == ["401", managed]
    assert f"assumed-role/machine/{managed}" in said


@pytest.mark.parametrize(("behaviour", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_power_off_on_the_machine_obeys_its_shutdown_behaviour(
    aws: Any, behaviour: str, state: str
) -> None:
    instance_id = launch(
        aws, UserData="#!/bin/sh\npoweroff\n", InstanceInitiatedShutdownBehavior=behaviour
    )
    shown = wait_until(aws, instance_id, state)
    assert shown["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


INSIDE = r"""
set -e
base=$(aws ssm get-parameter --query Parameter.Value --output text \
  --name /aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id)
aws ec2 create-key-pair --key-name mine --key-type ed25519 > /dev/null
public=$(aws ec2 describe-key-pairs --key-names mine --include-public-key \
  --query 'KeyPairs[0].PublicKey' --output text)
machine=$(aws ec2 run-instances --image-id $base --instance-type t3.micro --key-name mine \
  --user-data "#!/bin/sh
echo keys: \$(grep -c -F '$public mine' /home/ec2-user/.ssh/authorized_keys)" \
  --query 'Instances[0].InstanceId' --output text)
aws ec2 delete-key-pair --key-name mine > /dev/null
aws ec2 wait instance-running --instance-ids $machine
addresses=$(aws ec2 describe-instances --instance-ids $machine --output text \
  --query 'Reservations[0].Instances[0].[PublicIpAddress,PrivateIpAddress]')
until aws ec2 get-console-output --instance-id $machine --output text | grep keys:; do :; done
python -m local_cloud inside -- python -c "
import socket, sys
for address in '$addresses'.split():
    while True:
        try:
            with socket.create_connection((address, 22), timeout=5) as one:
                print(one.recv(7))
            break
        except ConnectionRefusedError:
            pass
sys.exit(7)"
"""


def test_a_command_inside_reaches_ssh_and_the_machine_knows_its_key_pair() -> None:
    """What Packer and `ssh` need: a way to the machine, by either address, and to be let in."""
    ran = local_cloud("run", "--", "sh", "-c", INSIDE)
    assert ran.returncode == 7, ran.stderr
    assert ran.stdout.splitlines() == ["keys: 1", "b'SSH-2.0'", "b'SSH-2.0'"]


def test_the_console_shows_the_boot_and_what_user_data_said(aws: Any) -> None:
    ec2 = aws("ec2")
    one = launch(aws, UserData="#!/bin/sh\necho hello from user data\n")
    wait_until(aws, one, "running")
    said = ""
    while "hello from user data" not in said:
        said = ec2.get_console_output(InstanceId=one).get("Output", "")
    assert "Finished cloud-init.service" in said
    ec2.terminate_instances(InstanceIds=[one])
    wait_until(aws, one, "terminated")
    assert "Output" not in ec2.get_console_output(InstanceId=one)


def test_files_outlive_stop_and_start_and_a_restart_of_the_cloud(tmp_path: Path) -> None:
    with Cloud(state=tmp_path / "state") as cloud:
        endpoint = cloud.endpoint

        def aws(service: str) -> Any:
            return client_of(endpoint, service)

        instance_id = launch(aws, IamInstanceProfile={"Name": profile(aws)})
        wait_until(aws, instance_id, "running")
        wait_until_online(aws, instance_id)
        end_of(aws, send(aws, instance_id, "echo kept > /srv/note; sync"), instance_id)
        aws("ec2").stop_instances(InstanceIds=[instance_id])
        wait_until(aws, instance_id, "stopped")
        aws("ec2").start_instances(InstanceIds=[instance_id])
        wait_until(aws, instance_id, "running")
    with Cloud(state=tmp_path / "state") as cloud:
        endpoint = cloud.endpoint
        wait_until(aws, instance_id, "running")
        wait_until_online(aws, instance_id)
        read = end_of(aws, send(aws, instance_id, "cat /srv/note"), instance_id)
        assert read["StandardOutputContent"] == "kept\n"
        (snapshot,) = _snapshot_of(aws, instance_id)
        assert 0 < snapshot["FullSnapshotSizeInBytes"] < 30 * 1024**3


def _snapshot_of(aws: Any, instance_id: str) -> Any:
    ec2 = aws("ec2")
    image_id = ec2.create_image(InstanceId=instance_id, Name="sized", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=PATIENT)
    return ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]


def test_a_kill_with_five_machines_up_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    first = Process(folder=tmp_path)
    assert first.ready["machines"] == "real", first.said
    made = [launch(first.client) for _ in range(5)]
    for instance_id in made:
        wait_until(first.client, instance_id, "running")
    first.stop(signal.SIGKILL)
    second = Process(folder=tmp_path)
    try:
        assert second.ready["machines"] == "real", second.said
        assert _running_in(made) == []
        mounts = Path("/proc/self/mountinfo").read_text()
        assert not any(instance_id in mounts for instance_id in made)
    finally:
        assert second.stop() == 0


def _running_in(instance_ids: list[str]) -> list[str]:
    """Processes of this host that belong to one of the machines, by command line or host name."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in listed.splitlines() if any(one in line for one in instance_ids)]


def test_run_leaves_no_folder_behind() -> None:
    ask = "import json, os; print(json.dumps(os.environ['PULUMI_BACKEND_URL']))"
    ran = subprocess.run(
        [sys.executable, "-m", "local_cloud", "run", "--", "python", "-c", ask],
        capture_output=True, text=True, check=True,
        env={k: v for k, v in os.environ.items() if k != "AWS_ENDPOINT_URL"},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    backend = Path(json.loads(ran.stdout).removeprefix("file://"))
    assert not backend.parent.exists()
