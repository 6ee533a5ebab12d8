"""What takes time when it is asked for: every transition, seen by plain boto3 on a clock that the
test moves.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.clock import ManualClock
from local_cloud.cloud import Cloud
from local_cloud.inventory import take_inventory
from local_cloud.latency import Latency, Profile, ProfileError, profile_of, read_profile
from local_cloud.latency.profile import names
from tests.local_cloud.conftest import REGION, local_cloud
from tests.local_cloud.samples import error_code, launch, machine, profile, stop_clock, wait_until
from tests.waiting import PATIENT, until


def test_a_machine_is_pending_until_its_time_has_come(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, instance_pending=15)
    made = launch(aws)
    assert machine(aws, made)["State"]["Name"] == "pending"
    clock.advance(14.9)
    assert machine(aws, made)["State"]["Name"] == "pending"
    clock.advance(0.2)
    wait_until(aws, made, "running")


def test_stopping_and_shutting_down_take_their_time(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, instance_stopping=57, instance_shutting_down=30)
    ec2, made = aws("ec2"), launch(aws)
    wait_until(aws, made, "running")
    ec2.stop_instances(InstanceIds=[made])
    clock.advance(50)
    assert machine(aws, made)["State"]["Name"] == "stopping"
    with pytest.raises(ClientError) as caught:
        ec2.create_image(InstanceId=made, Name="too-early")
    assert error_code(caught.value) == "IncorrectInstanceState"
    clock.advance(10)
    wait_until(aws, made, "stopped")
    ec2.terminate_instances(InstanceIds=[made])
    clock.advance(29)
    assert machine(aws, made)["State"]["Name"] == "shutting-down"
    assert len(ec2.describe_volumes()["Volumes"]) == 1
    held = take_inventory(cloud)  # no more of what goes by itself
    assert not held.get("machine")
    assert not held.get("volume")
    clock.advance(2)
    wait_until(aws, made, "terminated")
    assert ec2.describe_volumes()["Volumes"] == []


def test_a_machine_that_is_terminated_while_pending_never_runs(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, instance_pending=15, instance_shutting_down=30)
    made = launch(aws)
    aws("ec2").terminate_instances(InstanceIds=[made])
    clock.advance(20)
    assert machine(aws, made)["State"]["Name"] == "shutting-down"
    clock.advance(20)
    wait_until(aws, made, "terminated")
    assert not cloud.machines.is_up(made)


def test_a_machine_stopped_while_pending_and_started_again_boots_once(
    cloud: Cloud, aws: Any
) -> None:
    clock, ec2 = stop_clock(cloud, instance_pending=15), aws("ec2")
    made = launch(aws)
    clock.advance(10)
    ec2.stop_instances(InstanceIds=[made])
    wait_until(aws, made, "stopped")
    ec2.start_instances(InstanceIds=[made])
    clock.advance(6)  # when the first boot would have been
    assert machine(aws, made)["State"]["Name"] == "pending"
    clock.advance(10)
    wait_until(aws, made, "running")


def test_a_power_off_from_inside_takes_its_time_too(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, instance_shutting_down=30)
    made = launch(aws, InstanceInitiatedShutdownBehavior="terminate")
    wait_until(aws, made, "running")
    cloud.machines.power_off_from_inside(made)  # type: ignore[attr-defined]
    shown = machine(aws, made)
    assert shown["State"]["Name"] == "shutting-down"
    assert shown["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    clock.advance(31)
    wait_until(aws, made, "terminated")


def test_the_agent_is_offline_at_first_and_status_checks_initialize(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, agent_offline=20, status_initializing=60, command_pending=2)
    ssm, ec2 = aws("ssm"), aws("ec2")
    made = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, made, "running")

    def online() -> int:
        return len(ssm.describe_instance_information()["InstanceInformationList"])

    def checks() -> str:
        (found,) = ec2.describe_instance_status(InstanceIds=[made])["InstanceStatuses"]
        return str(found["InstanceStatus"]["Status"])

    def send() -> str:
        sent = ssm.send_command(
            InstanceIds=[made], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
        )
        return str(sent["Command"]["CommandId"])

    assert online() == 0
    with pytest.raises(ClientError) as caught:
        send()
    assert error_code(caught.value) == "InvalidInstanceId"
    clock.advance(21)
    assert online() == 1
    assert checks() == "initializing"
    command = send()

    def status() -> str:
        found = ssm.get_command_invocation(CommandId=command, InstanceId=made)
        return str(found["Status"])

    assert status() == "Pending"
    clock.advance(40)
    until(lambda: status() == "Success")
    assert checks() == "ok"


def test_an_image_and_its_snapshots_are_pending_with_progress(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, image_pending=20, snapshot_per_gib=10)  # a base disk holds 8 GiB here
    ec2, made = aws("ec2"), launch(aws)
    wait_until(aws, made, "running")
    image = ec2.create_image(InstanceId=made, Name="slow")["ImageId"]

    def snapshot() -> tuple[str, str]:
        (found,) = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return found["State"], found["Progress"]

    def state() -> str:
        return str(ec2.describe_images(ImageIds=[image])["Images"][0]["State"])

    until(lambda: any(one.due for one in cloud.store.table("ec2 snapshots").values()))
    clock.advance(50)
    assert state() == "pending"
    assert snapshot() == ("pending", "50%")
    with pytest.raises(ClientError) as caught:
        launch(aws, ImageId=image)
    assert error_code(caught.value) == "InvalidAMIID.Unavailable"
    clock.advance(51)
    until(lambda: state() == "available")
    assert snapshot() == ("completed", "100%")


def test_snapshots_copies_and_volumes_are_pending(cloud: Cloud, aws: Any) -> None:
    clock = stop_clock(cloud, snapshot_pending=40, copy_pending=30, volume_creating=3)
    ec2, zone = aws("ec2"), f"{REGION}a"
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]

    def state(kind: str, one: str) -> str:
        if kind == "volume":
            return str(ec2.describe_volumes(VolumeIds=[one])["Volumes"][0]["State"])
        if kind == "snapshot":
            return str(ec2.describe_snapshots(SnapshotIds=[one])["Snapshots"][0]["State"])
        return str(ec2.describe_images(ImageIds=[one])["Images"][0]["State"])

    assert state("volume", volume) == "creating"
    clock.advance(4)
    until(lambda: state("volume", volume) == "available")
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    assert state("snapshot", snapshot) == "pending"
    for method, asked in (
        ("create_volume", {"AvailabilityZone": zone, "SnapshotId": snapshot}),
        ("copy_snapshot", {"SourceSnapshotId": snapshot, "SourceRegion": REGION}),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(ec2, method)(**asked)
        assert error_code(caught.value) == "IncorrectState"
    clock.advance(41)
    until(lambda: state("snapshot", snapshot) == "completed")
    image = ec2.create_image(InstanceId=launch(aws), Name="fast")["ImageId"]
    until(lambda: state("image", image) == "available")
    copy = ec2.copy_image(SourceImageId=image, SourceRegion=REGION, Name="copy")["ImageId"]
    assert state("image", copy) == "pending"
    clock.advance(31)
    until(lambda: state("image", copy) == "available")


def test_what_was_pending_is_finished_by_the_next_cloud(tmp_path: Path) -> None:
    from tests.local_cloud.conftest import client_of

    folder = tmp_path / "state"
    with Cloud(state=folder, real=False, say=lambda text: None) as first:
        stop_clock(first, image_pending=60, instance_shutting_down=60)

        def aws(service: str) -> Any:
            return client_of(first.endpoint, service)

        kept, gone = launch(aws), launch(aws)
        wait_until(aws, kept, "running")
        image = aws("ec2").create_image(InstanceId=kept, Name="slow", NoReboot=True)["ImageId"]
        aws("ec2").terminate_instances(InstanceIds=[gone])
        until(lambda: any(one.due for one in first.store.table("ec2 snapshots").values()))
    clock = ManualClock()
    with Cloud(state=folder, real=False, clock=clock, say=lambda text: None) as second:
        ec2 = client_of(second.endpoint, "ec2")
        clock.advance(61)
        ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=PATIENT)
        found = ec2.describe_instances(InstanceIds=[gone])["Reservations"][0]["Instances"][0]
        assert found["State"]["Name"] == "terminated"


def test_ranges_are_drawn_from_the_same_way_again() -> None:
    given = {"seed": 7, "instance_pending": [5, 15], "image_pending": 3}
    latency = Latency(profile_of(given))
    drawn = [latency.draw("instance_pending") for _ in range(20)]
    assert all(5 <= one <= 15 for one in drawn)
    assert len(set(drawn)) == 20
    assert latency.draw("image_pending") == 3
    latency.use(profile_of(given))
    assert [latency.draw("instance_pending") for _ in range(20)] == drawn
    other = Latency(profile_of(given | {"seed": 8}))
    assert other.draw("instance_pending") not in drawn


@pytest.mark.parametrize("name", names())
def test_built_in_profiles_name_a_source_for_each_figure_of_aws(name: str) -> None:
    found = read_profile(name)
    assert found.about
    figures = found.model_fields_set - {"about", "sources", "seed"}
    assert name != "aws" or figures == set(found.sources)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"instance_pendng": 3}, "instance_pendng: no such figure; there are seed, call, launch"),
        ({"image_pending": -1}, "image_pending: -1: Input should be greater than or equal to 0"),
        ({"image_pending": "5"}, 'image_pending: "5"'),
        ({"image_pending": [9, 3]}, "from the smaller to the larger"),
        ({"link": {"machine_mb_per_s": 0}}, "link.machine_mb_per_s: 0"),
        ([1], "a JSON object of figures is needed"),
        ("amazon", "neither a built-in one (1s, 20s, 5s, aws) nor a file that can be read"),
    ],
)
def test_a_bad_profile_is_refused_in_one_clear_line(said: Any, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        profile_of(said)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_refuses_a_bad_profile_and_takes_a_good_one(tmp_path: Path) -> None:
    bad = tmp_path / "slow.json"
    bad.write_text('{"image_pending": "soon"}')
    done = local_cloud("run", "--recorded", "--latency", str(bad), "--", "true")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: latency profile {bad}: image_pending:")
    show = ["--", "sh", "-c", "curl -s $AWS_ENDPOINT_URL/_local_cloud/latency"]
    done = local_cloud("run", "--recorded", *show, LOCAL_CLOUD_LATENCY="5s")
    assert json.loads(done.stdout)["image_pending"] == 5


def put(cloud: Cloud, said: Any) -> Any:
    request = urllib.request.Request(
        f"{cloud.endpoint}/_local_cloud/latency", json.dumps(said).encode(), method="PUT"
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_profile_is_replaced_while_the_cloud_runs(cloud: Cloud, aws: Any) -> None:
    assert put(cloud, "20s")["image_pending"] == 20
    assert cloud.latency.profile == read_profile("20s")
    with pytest.raises(urllib.error.HTTPError) as caught:
        put(cloud, {"image": 3})
    assert caught.value.code == 400
    assert "image: no such figure" in json.load(caught.value)["error"]
    assert cloud.latency.profile == read_profile("20s")
    put(cloud, {})
    assert cloud.latency.profile == Profile()
    wait_until(aws, launch(aws), "running")


def test_calls_and_launches_wait_before_they_have_an_effect(cloud: Cloud, aws: Any) -> None:
    """On the host's clock, for what the log of calls says of them."""
    cloud.latency.use(profile_of({"call": 0.05, "launch": 0.2}))
    launch(aws)
    calls = {one["action"]: one["duration_ms"] for one in cloud.calls.read()}
    assert calls["GetParameter"] >= 50
    assert calls["RunInstances"] >= 250


def test_a_volume_with_a_rate_is_initialized_after_size_by_rate(cloud: Cloud, aws: Any) -> None:
    """A base disk holds 8 GiB here: at 256 MiB/s that is 32 s."""
    clock, ec2 = stop_clock(cloud), aws("ec2")
    root = ec2.describe_images(Owners=["amazon"])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]

    def create(**settings: Any) -> str:
        made = ec2.create_volume(AvailabilityZone=f"{REGION}a", **settings)
        return str(made["VolumeId"])

    def status(volume: str) -> Any:
        (found,) = ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"]
        return found.get("InitializationStatusDetails")

    launch(aws)  # brings the base disks
    rated = create(SnapshotId=root["SnapshotId"], VolumeInitializationRate=256)
    assert status(create(Size=1)) is None
    assert status(create(SnapshotId=root["SnapshotId"])) == {
        "InitializationType": "default", "Progress": 100,
    }  # fmt: skip
    assert status(rated)["EstimatedTimeToCompleteInSeconds"] == 32
    clock.advance(16)
    assert status(rated) == {
        "InitializationType": "provisioned-rate", "Progress": 50,
        "EstimatedTimeToCompleteInSeconds": 16,
    }  # fmt: skip
    clock.advance(17)
    assert status(rated)["Progress"] == 100
