"""What a state folder keeps, over an orderly end and over a kill, and who may use it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import tempfile
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from local_cloud.cloud import Cloud
from local_cloud.folders import remove_abandoned_folders
from local_cloud.state import StateError, StateFolder
from tests.local_cloud.conftest import Process, local_cloud
from tests.local_cloud.samples import launch, machine, profile, wait_until
from tests.waiting import until

Serve = Callable[..., Process]


def fill(process: Process) -> dict[str, str]:
    """One of many things, in a cloud that runs."""
    aws = process.client
    name = profile(aws)
    on_demand = launch(aws, IamInstanceProfile={"Name": name}, ClientToken="once")
    spot = launch(aws, InstanceMarketOptions={"MarketType": "spot"})
    wait_until(aws, on_demand, "running")
    wait_until(aws, spot, "running")
    image = aws("ec2").create_image(InstanceId=on_demand, Name="kept", NoReboot=True)["ImageId"]
    aws("ec2").get_waiter("image_available").wait(ImageIds=[image])
    aws("s3").create_bucket(
        Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )
    aws("s3").put_object(Bucket="kept", Key="k", Body=b"content", ChecksumAlgorithm="SHA256")
    aws("ssm").put_parameter(Name="/kept", Value="v", Type="String")
    aws("ecr").create_repository(repositoryName="kept")
    aws("ecs").create_cluster(clusterName="kept")
    aws("logs").create_log_group(logGroupName="kept")
    key = aws("kms").create_key()["KeyMetadata"]["KeyId"]
    pair = aws("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    return {
        "on_demand": on_demand, "spot": spot, "image": image, "pair": pair["KeyId"],
        "secret": aws("kms").encrypt(KeyId=key, Plaintext=b"kept")["CiphertextBlob"].hex(),
        "public": aws("kms").get_public_key(KeyId=pair["KeyId"])["PublicKey"].hex(),
    }  # fmt: skip


def saved_at(state: Path) -> int:
    """When the state was saved last, in ns; 0 for never."""
    path = state / "state.pickle"
    return path.stat().st_mtime_ns if path.exists() else 0


def check(process: Process, made: dict[str, str]) -> None:
    """All of it is there again; the machine runs again, the one-time spot machine is gone."""
    aws = process.client
    assert wait_until(aws, made["on_demand"], "running")["IamInstanceProfile"]
    assert machine(aws, made["spot"])["State"]["Name"] == "terminated"
    (image,) = aws("ec2").describe_images(ImageIds=[made["image"]])["Images"]
    assert image["State"] == "available"
    assert aws("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"content"
    kms = aws("kms")
    assert kms.decrypt(CiphertextBlob=bytes.fromhex(made["secret"]))["Plaintext"] == b"kept"
    assert kms.get_public_key(KeyId=made["pair"])["PublicKey"].hex() == made["public"]
    assert aws("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "v"
    assert len(aws("ecr").describe_repositories()["repositories"]) == 1
    assert len(aws("ecs").list_clusters()["clusterArns"]) == 1
    assert len(aws("logs").describe_log_groups()["logGroups"]) == 1
    assert aws("iam").get_role(RoleName="machine")["Role"]["RoleName"] == "machine"
    again = launch(aws, IamInstanceProfile={"Name": "machine"}, ClientToken="once")
    assert again == made["on_demand"]
    fresh = launch(aws, ImageId=made["image"])
    wait_until(aws, fresh, "running")
    assert len(aws("ec2").describe_subnets()["Subnets"]) == 4


def test_everything_is_there_again_after_an_orderly_end(serve: Serve, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = serve("--state", state)
    made = fill(first)
    assert first.stop() == 0
    check(serve("--state", state), made)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whatever_was_answered_is_there_again_after_an_orderly_end(
    serve: Serve, tmp_path: Path, number: int
) -> None:
    """Calls go on all the time: the last ones get an answer and are kept, or get none."""
    first = serve("--state", str(tmp_path / "state"))
    answered: list[str] = []
    failures: list[str] = []

    def call(thread: int) -> None:
        ssm = first.client("ssm")
        try:
            for turn in itertools.count():
                name = f"/{thread}/{turn}"
                ssm.put_parameter(Name=name, Value="v", Type="String")
                answered.append(name)
        except (ConnectionClosedError, EndpointConnectionError) as error:
            failures.append(type(error).__name__)

    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(call, number) for number in range(3)]
        while len(answered) < 30:
            assert first.popen.poll() is None
        assert first.stop(number) == 0
        for one in calls:
            one.result()
    assert len(failures) == 3
    assert "Traceback" not in first.said
    ssm = serve("--state", str(tmp_path / "state")).client("ssm")
    pages = ssm.get_paginator("describe_parameters").paginate()
    kept = {one["Name"] for page in pages for one in page["Parameters"]}
    assert set(answered) <= kept


def test_everything_saved_is_there_again_after_a_kill(serve: Serve, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = serve("--state", str(state))
    made = fill(first)
    for name in ("last but one", "last"):  # A save under way may have begun before all was there.
        before = saved_at(state)
        first.client("ec2").create_key_pair(KeyName=name)
        until(lambda: first.popen.poll() is not None or saved_at(state) != before)  # noqa: B023
    first.stop(signal.SIGKILL)
    check(serve("--state", str(state)), made)


def test_a_folder_in_use_names_its_owner(serve: Serve, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = serve("--state", state)
    second = local_cloud("serve", "--recorded", "--state", state)
    assert second.returncode == 1
    assert f"in use by process {first.popen.pid}" in second.stderr
    assert first.endpoint in second.stderr


def test_a_cloud_that_ended_is_asked_through_its_folder(serve: Serve, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = serve("--state", state)
    first.client("ec2").create_key_pair(KeyName="mine")
    asked = local_cloud("inventory", "--json", "--state", state)
    assert [one["name"] for one in json.loads(asked.stdout)["key pair"]] == ["mine"]
    assert asked.stderr == ""
    first.stop()
    again = local_cloud("inventory", "--json", "--state", state)
    assert json.loads(again.stdout) == json.loads(asked.stdout)
    assert "No cloud is running" in again.stderr
    calls = json.loads(local_cloud("calls", "--json", "--state", state).stdout)
    assert (calls["total"], calls["mutating"]) == (1, 1)
    assert calls["by_action"] == {"ec2:CreateKeyPair": 1}


def test_no_cloud_at_all_says_where_was_looked(tmp_path: Path) -> None:
    asked = local_cloud("inventory", "--state", str(tmp_path / "none"))
    assert asked.returncode == 1
    assert str(tmp_path / "none") in asked.stderr
    wrong = local_cloud("inventory", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert wrong.returncode == 1
    assert "http://127.0.0.1:9" in wrong.stderr


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.take()
    folder.save({"store": {}, "moto": {}})
    folder.release()
    held = folder.pickle_path.read_bytes()
    folder.pickle_path.write_bytes(held[:20])
    with pytest.raises(StateError, match=r"cannot be read"):
        Cloud(state=tmp_path, real=False).start()
    import cloudpickle

    folder.pickle_path.write_bytes(cloudpickle.dumps({"version": 0, "moto": "1", "state": {}}))
    with pytest.raises(StateError, match=r"written by format 0 with moto 1"):
        Cloud(state=tmp_path, real=False).start()


def test_a_state_that_cannot_be_saved_is_one_clear_error(serve: Serve, tmp_path: Path) -> None:
    """A folder in the way of the file that is written first stands for a disk that is full."""
    state = tmp_path / "state"
    (state / "state.new").mkdir(parents=True)
    first = serve("--state", str(state))
    first.client("ec2").create_key_pair(KeyName="lost")
    assert first.stop() == 1
    assert f"Error: state folder {state}: cannot be saved: Is a directory" in first.said
    assert "Traceback" not in first.said


def test_calls_are_answered_where_the_disk_is_full(serve: Serve, tmp_path: Path) -> None:
    """They only miss in the log."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "calls.jsonl").symlink_to("/dev/full")
    first = serve("--state", str(state))
    assert first.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert first.stop() == 0


def test_a_killed_clouds_temporary_folder_is_removed_by_the_next(serve: Serve) -> None:
    first = serve()
    folder = next(
        path
        for path in Path(tempfile.gettempdir()).glob("local-cloud-*")
        if (StateFolder(path).read_owner() or {}).get("pid") == first.popen.pid
    )
    remove_abandoned_folders()
    assert folder.exists(), "a living cloud's folder stays"
    first.stop(signal.SIGKILL)
    second = serve()
    assert not folder.exists()
    assert str(folder) in second.said


def test_nothing_is_left_of_a_cloud_without_state() -> None:
    with Cloud(real=False, say=lambda text: None) as one:
        root, endpoint = one.root, one.endpoint
        assert root.exists()
    assert not root.exists()
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(f"{endpoint}/_local_cloud/health", timeout=300)


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    folder = StateFolder(tmp_path)
    folder.take()
    folder.save({"store": {"a": {1: 2}}, "moto": {}})

    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateError, match=f"{tmp_path}: cannot be saved: No space left on device"):
        folder.save({"store": {}, "moto": {}})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["lock", "state.pickle"]
    assert folder.load() == {"store": {"a": {1: 2}}, "moto": {}}
    folder.release()
