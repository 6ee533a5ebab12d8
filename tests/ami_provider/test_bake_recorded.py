"""A whole bake against a local cloud whose machines are only recorded: every command succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ami_provider import tags, waiting
from ami_provider.errors import BakeError
from local_cloud.faults import Fault, Faults, Limit
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import EMPTY, ONE_AMI, SUBNETS, Bakery, extra, open_bakery


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


def answer(bakery: Bakery, word: str, *, log: str, exit_code: int = 70, before: str = "") -> None:
    """Let every script with this word in it fail with this log."""

    def outcome(_machine: str, script: Script) -> Outcome:
        now = datetime.now(UTC)
        fails = word in "\n".join(script.lines)
        step = word.removeprefix("run.sh ")
        return Outcome(
            status="Failed" if fails else "Success",
            exit_code=exit_code if fails else 0,
            stdout=f"{before}baked-ami-step: {step}\n{log}".encode() if fails else b"",
            stderr=b"",
            started=now,
            ended=now,
        )

    machines = bakery.cloud.machines
    assert isinstance(machines, RecordedMachines)
    machines.answer = outcome


def no_capacity(bakery: Bakery, *, times: int) -> None:
    code = "InsufficientInstanceCapacity"
    fault = Fault(service="ec2", action="RunInstances", fault="error", code=code, times=times)
    bakery.cloud.faults = Faults([fault])


def get_tags(bakery: Bakery, ami_id: str) -> dict[str, str]:
    image = bakery.aws.ec2.describe_images(ImageIds=[ami_id])["Images"][0]
    return tags.to_mapping(image["Tags"])


def test_a_bake_gives_one_verified_ami_and_leaves_nothing_else(bakery: Bakery) -> None:
    baked = bakery.bake()

    assert bakery.count() == ONE_AMI
    image = bakery.aws.ec2.describe_images(ImageIds=[baked.ami_id])["Images"][0]
    noted = tags.to_mapping(image["Tags"])
    assert image["Name"] == baked.name == f"baked-ami-ami-{baked.fingerprint[:16]}"
    assert noted[tags.FINGERPRINT] == baked.fingerprint
    assert noted[tags.LINEAGE] == "baked-ami/dev/ami"
    assert noted[tags.VERIFIED] == tags.VERIFIED_YES
    assert noted["team"] == "vision"
    assert list(tags.find_owners(noted).values()) == [baked.owner_nonce]
    snapshot = bakery.aws.ec2.describe_snapshots(SnapshotIds=list(baked.snapshot_ids))
    assert tags.to_mapping(snapshot["Snapshots"][0]["Tags"])[tags.FINGERPRINT] == baked.fingerprint
    assert not baked.adopted
    steps = [line.partition(" · ")[0] for line in bakery.said if line.startswith("step 1 ")]
    assert steps[0] == "step 1 of 8: launch a builder"


def test_the_builder_is_closed_and_ends_by_itself(bakery: Bakery) -> None:
    bakery.bake()

    assert len(bakery.launches) == 2  # A builder, and the machine that checks the AMI.
    for request in bakery.launches:
        assert request["MetadataOptions"]["HttpTokens"] == "required"
        assert request["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert request["InstanceMarketOptions"]["MarketType"] == "spot"
        assert "KeyName" not in request
        assert {s["ResourceType"] for s in request["TagSpecifications"]} == {"instance", "volume"}


def test_the_same_recipe_again_is_adopted_without_a_machine(bakery: Bakery) -> None:
    first = bakery.bake()
    launched = len(bakery.launches)
    second = bakery.bake(lineage=bakery.lineage("prod"))

    assert second.ami_id == first.ami_id
    assert second.adopted
    assert len(bakery.launches) == launched
    assert bakery.count() == ONE_AMI
    assert set(tags.find_owners(get_tags(bakery, first.ami_id)).values()) == {
        first.owner_nonce,
        second.owner_nonce,
    }


def test_a_step_that_fails_says_why_and_leaves_nothing(bakery: Bakery) -> None:
    log = "baked-ami-failure: ecr-denied: docker login x: denied\n"
    answer(bakery, "run.sh 30-registry-login", log=log)

    with pytest.raises(BakeError, match="ECR refuses the builder") as raised:
        bakery.bake()

    assert "docker login x: denied" in raised.value.details
    assert "AmazonEC2ContainerRegistryReadOnly" in raised.value.resolution
    assert bakery.count() == EMPTY


def test_the_step_that_failed_is_told_of_several_in_one_command(bakery: Bakery) -> None:
    """The steps before it ended well, those after it were not begun."""
    before = "baked-ami-step: 10-quiet-agent\nbaked-ami-step: 20-system-update\n"
    answer(bakery, "run.sh 30-registry-login", log="30: it broke\n", before=before)

    with pytest.raises(BakeError, match="could not log in to the registry") as raised:
        bakery.bake()

    assert "30-registry-login on i-" in raised.value.details
    assert "30: it broke" in raised.value.details
    for other in ("10-quiet-agent", "20-system-update", "36-agent-settings"):
        assert other not in raised.value.details.partition("The whole log")[0]
    assert bakery.count() == EMPTY


def test_an_extra_step_of_the_users_own_is_told_by_its_log(bakery: Bakery) -> None:
    answer(bakery, "60-01-mine", log="mine: 1\nmine: it broke\n", exit_code=3)

    with pytest.raises(BakeError, match="could not run the extra step mine") as raised:
        bakery.bake(bakery.resolve(extra_steps=extra("mine", "exit 3")))

    assert "exit code 3" in raised.value.details
    assert "mine: it broke" in raised.value.details
    assert bakery.count() == EMPTY


def test_a_builder_is_kept_on_request(bakery: Bakery) -> None:
    answer(bakery, "run.sh 20-system-update", log="no mirror")

    with pytest.raises(BakeError) as raised:
        bakery.bake(site=bakery.site(on_failure="keep"))

    assert bakery.count()["machines"] == 1
    assert "aws ssm start-session" in raised.value.resolution

    assert isinstance(bakery.cloud.machines, RecordedMachines)
    bakery.cloud.machines.answer = None
    launched = len(bakery.launches)
    bakery.bake()
    assert len(bakery.launches) == launched + 1  # Only the verifier.
    assert bakery.count() == ONE_AMI


def test_an_ami_that_is_refused_is_removed(bakery: Bakery) -> None:
    answer(bakery, "run.sh verify", log="baked-ami-failure: secret: 1 checks did not hold\n")

    with pytest.raises(BakeError, match="is refused") as raised:
        bakery.bake()

    assert "credential" in str(raised.value)
    assert bakery.count() == EMPTY


def test_verification_can_be_off_and_made_up_for_later(bakery: Bakery) -> None:
    baked = bakery.bake(site=bakery.site(verify="off"))
    assert get_tags(bakery, baked.ami_id)[tags.VERIFIED] == tags.VERIFIED_OFF
    assert len(bakery.launches) == 1

    again = bakery.bake()
    assert again.ami_id == baked.ami_id
    assert get_tags(bakery, baked.ami_id)[tags.VERIFIED] == tags.VERIFIED_YES
    assert bakery.count() == ONE_AMI


def test_no_capacity_goes_to_the_next_choice_and_says_so(bakery: Bakery) -> None:
    no_capacity(bakery, times=5)

    bakery.bake()

    requests = bakery.launches
    assert "InstanceMarketOptions" not in requests[5]
    assert (requests[5]["InstanceType"], requests[5]["SubnetId"]) == ("g5.xlarge", SUBNETS[1])
    refused = [line for line in bakery.said if "InsufficientInstanceCapacity" in line]
    assert len(refused) == 5
    first = f"g5.xlarge spot in {SUBNETS[0]}"
    assert refused[0] == f"no builder as {first}: InsufficientInstanceCapacity; next choice"
    launched = f"launched the builder as g5.xlarge on-demand in {SUBNETS[1]}, after 5 refused"
    assert launched in bakery.said


def test_no_capacity_at_all_lists_every_choice(bakery: Bakery) -> None:
    no_capacity(bakery, times=99)

    with pytest.raises(BakeError, match="8 choices refused") as raised:
        bakery.bake()

    assert len(raised.value.details.splitlines()) == 8
    assert bakery.count() == EMPTY


def test_a_volume_rate_that_is_not_to_be_had_is_done_without(bakery: Bakery) -> None:
    bakery.cloud.faults = Faults([Limit(fault="initialization-budget", mib_s=100)])

    bakery.bake(site=bakery.site(volume_initialization_rate=300))

    asked = [r["BlockDeviceMappings"][0]["Ebs"].get("VolumeInitializationRate")
             for r in bakery.launches]  # fmt: skip
    assert asked == [None, 300, None]
    assert any("no volume initialization rate to be had" in line for line in bakery.said)
    assert bakery.count() == ONE_AMI


def test_the_ami_is_checked_on_the_machine_type_that_is_asked_for(bakery: Bakery) -> None:
    bakery.bake(site=bakery.site(verify="g4dn.2xlarge"))

    assert [r["InstanceType"] for r in bakery.launches] == ["g5.xlarge", "g4dn.2xlarge"]


def test_a_builder_in_a_network_without_a_way_out_is_told(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What AWS shows of it is a machine that runs, and an SSM agent that is never heard of."""
    elapsed = [0.0]
    monkeypatch.setattr(waiting, "now", lambda: elapsed[0])
    monkeypatch.setattr(waiting, "sleep", lambda s: elapsed.__setitem__(0, elapsed[0] + s))
    monkeypatch.setattr(bakery.cloud.machines, "agent_is_online", lambda _id: False)

    with pytest.raises(BakeError, match="runs, but its SSM agent does not answer") as raised:
        bakery.bake()

    assert "Waited 10 min." in raised.value.details
    for word in ("443 out", "internet gateway", "NAT", "endpoints", "AmazonSSMManagedInstanceCore"):
        assert word in raised.value.resolution
    assert bakery.count() == EMPTY
