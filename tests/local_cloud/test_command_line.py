"""`python -m local_cloud`: run, serve, and the AWS CLI against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.local_cloud.conftest import Process, local_cloud
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SHOW = (
    "import json, os; print(json.dumps({k: v for k, v in os.environ.items()"
    " if k.startswith(('AWS_', 'PULUMI_')) or k == 'PATH'}))"
)


def test_run_exits_as_its_command_does_and_says_when_there_is_none(tmp_path: Path) -> None:
    assert local_cloud("run", "--recorded", "--", "sh", "-c", "exit 7").returncode == 7
    missing = local_cloud("run", "--recorded", "--", "no-such-command")
    assert missing.returncode == 127
    assert "no-such-command" in missing.stderr
    plain = tmp_path / "no-program"
    plain.write_text("nothing\n")
    refused = local_cloud("run", "--recorded", "--", str(plain))
    assert refused.returncode == 126
    assert f"{plain}: Permission denied" in refused.stderr
    assert local_cloud("run", "--recorded", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_nothing_is_inside_where_machines_are_only_recorded() -> None:
    tried = local_cloud(
        "run", "--recorded", "--", "python", "-m", "local_cloud", "inside", "--", "true"
    )
    assert tried.returncode == 1
    assert "no machines run" in tried.stderr


def test_run_points_every_client_at_the_cloud_and_none_elsewhere() -> None:
    ran = local_cloud(
        "run", "--recorded", "--", "python", "-c", SHOW,
        AWS_PROFILE="work", AWS_SESSION_TOKEN="secret", AWS_ENDPOINT_URL_EC2="http://elsewhere",
        AWS_ROLE_ARN="arn:aws:iam::1:role/x",
    )  # fmt: skip
    shown = json.loads(ran.stdout)
    assert shown["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert shown["AWS_REGION"] == shown["AWS_DEFAULT_REGION"] == "ap-northeast-2"
    assert shown["PULUMI_BACKEND_URL"].startswith("file://")
    assert shown["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert shown["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    gone = {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_EC2", "AWS_ROLE_ARN"}
    assert not gone & set(shown)


def test_run_leaves_its_commands_input_and_output_alone() -> None:
    given = bytes(range(256)) * 4096
    ran = subprocess.run(
        [sys.executable, "-m", "local_cloud", "run", "--recorded", "--", "cat"],
        input=given, capture_output=True, timeout=120, check=True, cwd=ROOT,
    )  # fmt: skip
    assert ran.stdout == given


def test_run_seeds_an_image_and_models() -> None:
    ask = (
        "aws ecr describe-images --repository-name batch-processor"
        " --query imageDetails[].imageTags[] --output text;"
        " aws s3 ls s3://local-ml-models/models/ | wc -l"
    )
    ran = local_cloud("run", "--recorded", "--", "sh", "-c", ask)
    assert ran.stdout.split()[0] == "latest", ran.stderr
    assert int(ran.stdout.split()[1]) >= 2


def test_run_says_that_machines_are_only_recorded_when_asked_for_it() -> None:
    ran = local_cloud("run", "--recorded", "--", "true")
    assert "only recorded" in ran.stderr


def test_two_runs_at_once_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Each makes a key pair and waits for the other's sign before it looks."""
    script = (
        f"aws ec2 create-key-pair --key-name $0 > /dev/null; touch {tmp_path}/$0;"
        f" until [ -e {tmp_path}/$1 ]; do sleep 0.05; done;"
        " aws ec2 describe-key-pairs --query KeyPairs[].KeyName --output text"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "local_cloud", "run", "--recorded", "--",
             "sh", "-c", script, mine, other],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )
        for mine, other in (("one", "two"), ("two", "one"))
    ]  # fmt: skip
    assert [run.communicate()[0].strip() for run in runs] == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_run_reaches_the_command_and_ends_all(
    tmp_path: Path, number: signal.Signals
) -> None:
    sign = tmp_path / "started"
    command = (
        "import os, pathlib, signal, sys;"
        " signal.signal(signal.SIGINT, lambda *_: sys.exit(42));"
        " signal.signal(signal.SIGTERM, lambda *_: sys.exit(43));"
        f" pathlib.Path({str(sign)!r}).write_text(os.environ['AWS_ENDPOINT_URL']);"
        " signal.pause()"
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "local_cloud", "run", "--recorded", "--",
         "python", "-c", command],
        stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    until(lambda: run.poll() is not None or (sign.exists() and sign.read_text()))
    run.send_signal(number)
    assert run.wait() == {signal.SIGINT: 42, signal.SIGTERM: 43}[number]
    port = int(sign.read_text().rsplit(":", 1)[1])
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_in_use_is_replaced_and_that_is_said(serve: Callable[..., Process]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = serve("--port", str(port))
        assert process.ready["endpoint"] != f"http://127.0.0.1:{port}"
        assert f"Port {port} is in use" in process.said
        account = process.client("sts").get_caller_identity()["Account"]
    assert account == "123456789012"


def test_serve_ends_on_ctrl_c(serve: Callable[..., Process]) -> None:
    process = serve()
    assert process.ready["machines"] == "recorded"
    assert process.stop(signal.SIGINT) == 0


def test_an_idle_cloud_is_small(serve: Callable[..., Process]) -> None:
    """Under 300 MB, also after each of the services of a bake was called once."""
    process = serve()
    process.client("ec2").describe_instances()
    process.client("ec2").describe_instance_types(InstanceTypes=["g5.xlarge"])
    process.client("ssm").describe_instance_information()
    process.client("iam").list_roles()
    process.client("s3").list_buckets()
    process.client("ecr").describe_repositories()
    status = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert kib / 1024 < 300


AWS_CLI_STORY = r"""
set -e
image=$(aws ssm get-parameter --query Parameter.Value --output text \
  --name /aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id)
machine=$(aws ec2 run-instances --image-id $image --instance-type g5.xlarge \
  --tag-specifications 'ResourceType=instance,Tags=[{Key=Name,Value=story}]' \
  --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids $machine
made=$(aws ec2 create-image --instance-id $machine --name story --query ImageId --output text)
aws ec2 wait image-available --image-ids $made
aws ec2 terminate-instances --instance-ids $machine > /dev/null
aws ec2 wait instance-terminated --instance-ids $machine
second=$(aws ec2 run-instances --image-id $made --instance-type t3.micro \
  --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids $second
aws ec2 wait instance-status-ok --instance-ids $second
aws ec2 terminate-instances --instance-ids $second > /dev/null
aws ec2 wait instance-terminated --instance-ids $second
aws ec2 deregister-image --image-id $made --delete-associated-snapshots > /dev/null
python -m local_cloud inventory --json
"""


def test_the_aws_cli_takes_a_machine_to_an_image_and_back() -> None:
    ran = local_cloud("run", "--recorded", "--", "sh", "-c", AWS_CLI_STORY)
    assert ran.returncode == 0, ran.stderr
    assert all(items == [] for items in json.loads(ran.stdout).values())
