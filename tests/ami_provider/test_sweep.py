"""`python -m ami_provider sweep`: what bakes left behind goes, what is in use or young stays."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from ami_provider import sweeping, tags
from ami_provider.cli import main
from ami_provider.cli import sweep as command
from ami_provider.publication import CopyTo, Publication
from ami_provider.publishing import publish
from local_cloud.faults import Fault, Faults
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import EMPTY, ONE_AMI, SUBNETS, Bakery, open_bakery


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        monkeypatch.setattr(command, "get_aws", bakery.aws.at)
        yield bakery


def sweep(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sweep", "--older-than", "0m", *arguments])


def mark(role: tags.Role, fingerprint: str = "f1") -> list[dict[str, object]]:
    noted = {tags.ROLE: role, tags.FINGERPRINT: fingerprint, tags.LINEAGE: "shop/dev/gpu"}
    listed = tags.to_list(noted)
    return [{"ResourceType": kind, "Tags": listed} for kind in ("instance", "volume")]


def leave_machine(bakery: Bakery, role: tags.Role, fingerprint: str = "f1") -> str:
    """A machine as a bake that never came back leaves it."""
    image = bakery.resolve().base.ami_id
    made = bakery.aws.ec2.run_instances(
        ImageId=image, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0],
        IamInstanceProfile={"Name": "builder"},
        TagSpecifications=mark(role, fingerprint),  # type: ignore[arg-type]
    )  # fmt: skip
    machine = made["Instances"][0]["InstanceId"]
    bakery.aws.ec2.get_waiter("instance_running").wait(InstanceIds=[machine])
    return machine


def give_up(bakery: Bakery, ami_id: str) -> None:
    """Take every owner off an AMI, as a stack whose state was lost by hand."""
    image = bakery.aws.ec2.describe_images(ImageIds=[ami_id])["Images"][0]
    owners = [{"Key": key} for key in tags.find_owners(tags.to_mapping(image["Tags"]))]
    bakery.aws.ec2.delete_tags(Resources=[ami_id], Tags=owners)  # type: ignore[arg-type]


def test_everything_left_behind_goes(bakery: Bakery) -> None:
    baked = bakery.bake()
    give_up(bakery, baked.ami_id)
    machines = {leave_machine(bakery, "builder"), leave_machine(bakery, "verifier", "f2")}
    volume = bakery.aws.ec2.create_volume(
        AvailabilityZone=f"{bakery.cloud.region}a", Size=1,
        TagSpecifications=mark("builder")[1:],  # type: ignore[arg-type]
    )["VolumeId"]  # fmt: skip

    told = sweep("--dry-run", "--json")
    assert told.exit_code == 0, told.output
    rows = json.loads(told.stdout)["leftovers"]
    assert {row["id"] for row in rows} == {*machines, volume, baked.ami_id}
    assert {row["outcome"] for row in rows} == {"would be removed"}
    assert bakery.count() == {"machines": 2, "volumes": 3, "images": 1, "snapshots": 1}

    done = sweep()
    assert done.exit_code == 0, done.output
    assert len([line for line in done.output.splitlines() if line.startswith("removed: ")]) == 4
    assert bakery.count() == EMPTY
    assert "Nothing of bakes" in sweep().output


def test_an_ami_with_an_owner_or_a_user_stays(bakery: Bakery) -> None:
    owned = bakery.bake()
    assert "Nothing of bakes" in sweep().output

    give_up(bakery, owned.ami_id)
    made = bakery.aws.ec2.run_instances(
        ImageId=owned.ami_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0]
    )
    user = made["Instances"][0]["InstanceId"]
    done = sweep()

    assert done.exit_code == 0
    assert done.output.startswith(f"spared: image {owned.ami_id}")
    assert user in done.output
    assert bakery.count()["images"] == 1


def test_a_copy_goes_once_its_ami_is_gone(bakery: Bakery) -> None:
    """In its own region: a region's sweep looks at what the copy was made of."""
    baked, west = bakery.bake(), bakery.aws.at("us-west-2").ec2
    asked = Publication(copies=(CopyTo(region="us-west-2"),))
    published = publish(
        baked.ami_id, asked, lineage=bakery.lineage(), aws=bakery.aws, report=bakery.said.append,
        timeout_s=60, user_tags={},
    )  # fmt: skip
    assert "Nothing of bakes" in sweep("--region", "us-west-2").output

    bakery.aws.ec2.deregister_image(ImageId=baked.ami_id, DeleteAssociatedSnapshots=True)
    (copy,) = published.copies.values()
    told = sweep("--region", "us-west-2", "--dry-run").output
    assert told.startswith(f"would be removed: image {copy} of ")
    assert f"a copy of {bakery.cloud.region}/{baked.ami_id}" in told
    west.deregister_image(ImageId=copy)  # By hand, and its snapshot is left.
    assert "removed: snapshot snap-" in sweep("--region", "us-west-2").output
    assert west.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_what_is_young_or_of_another_lineage_stays(bakery: Bakery) -> None:
    leave_machine(bakery, "builder")

    assert "Nothing of bakes" in CliRunner().invoke(main, ["sweep"]).output
    assert "Nothing of bakes" in sweep("--lineage", "shop/prod").output
    assert "Nothing of bakes" in sweep("--lineage", "sho").output
    assert "removed: machine" in sweep("--lineage", "shop/dev").output
    assert bakery.count() == EMPTY


def test_ages_go_by_the_clock_of_aws(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_machine(bakery, "builder")
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=5)
    monkeypatch.setattr(sweeping, "get_time", lambda _aws: tomorrow)

    done = CliRunner().invoke(main, ["sweep", "--older-than", "1d"])

    assert "removed: machine" in done.output


def test_a_machine_at_work_stays(bakery: Bakery) -> None:
    machine = leave_machine(bakery, "builder")
    release = threading.Event()

    def work(_machine: str, _script: Script) -> Outcome:
        release.wait(300)
        now = datetime.now(UTC)
        return Outcome(
            status="Success", exit_code=0, stdout=b"", stderr=b"", started=now, ended=now
        )

    machines = bakery.cloud.machines
    assert isinstance(machines, RecordedMachines)
    machines.answer = work
    bakery.aws.ssm.send_command(
        InstanceIds=[machine], DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["work"]},
    )  # fmt: skip
    try:
        told = sweep().output
    finally:
        release.set()

    assert told.startswith(f"spared: machine {machine}")
    assert bakery.count()["machines"] == 1


def test_what_cannot_be_removed_is_named_and_the_rest_goes(bakery: Bakery) -> None:
    stuck = leave_machine(bakery, "builder")
    leave_machine(bakery, "builder", "f2")
    fault = Fault(
        fault="error", action="TerminateInstances", code="UnauthorizedOperation", status=403,
        message="You are not authorized to perform: ec2:TerminateInstances",
        when={"InstanceIds": stuck},
    )  # fmt: skip
    bakery.cloud.faults = Faults([fault])

    done = sweep()

    assert done.exit_code == 1
    assert f"not removed: machine {stuck}" in done.output
    assert "permission ec2:TerminateInstances is missing" in done.output
    assert bakery.count()["machines"] == 1


def test_credentials_that_are_not_good_change_nothing(bakery: Bakery) -> None:
    leave_machine(bakery, "builder")
    bakery.cloud.faults = Faults([Fault(fault="expired-credentials", action="GetCallerIdentity")])

    done = sweep()

    assert done.exit_code == 2
    assert "Sign in again" in done.stderr
    assert bakery.count()["machines"] == 1


def test_a_resumed_bake_is_not_disturbed_and_ends_with_nothing_to_sweep(bakery: Bakery) -> None:
    bakery.bake()
    assert bakery.count() == ONE_AMI
    assert "Nothing of bakes" in sweep().output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "soon"], "'soon' is not an age such as 90m, 6h or 2d."),
        (["--region", "europe"], "'europe' is not a region such as ap-northeast-2."),
    ],
)
def test_bad_input_is_told_in_one_sentence(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, ["sweep", *arguments], env={"AWS_REGION": "eu-west-1"})

    assert done.exit_code == 2
    assert message in done.stderr
