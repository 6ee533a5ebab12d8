"""What a bake does when machines, credentials, time or another client come in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.bake import BakedImage, bake
from ami_provider.errors import BakeError, StepError
from ami_provider.images import ImagePendingError
from ami_provider.site import Timeouts
from local_cloud.faults import Fault, Faults
from local_cloud.latency import Profile
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import EMPTY, ONE_AMI, SUBNETS, Bakery, extra, open_bakery
from tests.local_cloud.samples import stop_clock


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


def machines(bakery: Bakery) -> RecordedMachines:
    found = bakery.cloud.machines
    assert isinstance(found, RecordedMachines)
    return found


def reply(*, fails: bool = False, log: str = "") -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        status="Failed" if fails else "Success", exit_code=70 if fails else 0,
        stdout=log.encode(), stderr=b"", started=now, ended=now,
    )  # fmt: skip


def at_step(step: str, told: Outcome) -> Outcome:
    """As the machine tells it: which step of several it was."""
    return replace(told, stdout=f"baked-ami-step: {step}\n".encode() + told.stdout)


def on_step(bakery: Bakery, step: str, act: Callable[[str], Outcome | None]) -> None:
    """Call `act` with the machine's ID whenever this step is run on one."""

    def answer(machine: str, script: Script) -> Outcome:
        if f"run.sh {step}" in "\n".join(script.lines):
            return at_step(step, act(machine) or reply())
        return reply()

    machines(bakery).answer = answer


def take_away(bakery: Bakery, *, times: int) -> Callable[[str], Outcome | None]:
    """A spot interruption: the machine is gone in the middle of the step."""
    left = [times]

    def act(machine: str) -> Outcome | None:
        if left[0]:
            left[0] -= 1
            machines(bakery).power_off_from_inside(machine)
            return reply(fails=True)
        return None

    return act


def states(bakery: Bakery) -> dict[str, str]:
    """Every machine that EC2 still knows: its role and state."""
    return {
        tags.to_mapping(machine["Tags"])[tags.ROLE]: machine["State"]["Name"]
        for found in bakery.aws.ec2.describe_instances()["Reservations"]
        for machine in found["Instances"]
        if machine["State"]["Name"] != "terminated"
    }


def test_a_builder_that_is_taken_away_is_replaced_by_the_next_choice(bakery: Bakery) -> None:
    on_step(bakery, "40-pull-images", take_away(bakery, times=2))

    bakery.bake()

    places = [(r["InstanceType"], r["SubnetId"]) for r in bakery.launches]
    assert places[:3] == [
        ("g5.xlarge", SUBNETS[0]),
        ("g5.xlarge", SUBNETS[1]),
        ("g4dn.xlarge", SUBNETS[0]),
    ]
    assert sum("next choice" in line for line in bakery.said) == 2
    assert bakery.count() == ONE_AMI


def test_a_verifier_that_is_taken_away_is_replaced_too(bakery: Bakery) -> None:
    on_step(bakery, "verify", take_away(bakery, times=1))

    bakery.bake()

    assert [r["SubnetId"] for r in bakery.launches] == [SUBNETS[0], SUBNETS[0], SUBNETS[1]]
    assert bakery.count() == ONE_AMI


def test_when_every_machine_is_taken_away_each_is_listed(bakery: Bakery) -> None:
    on_step(bakery, "40-pull-images", take_away(bakery, times=99))
    site = bakery.site(capacity="spot", instance_types=("g5.xlarge",))

    with pytest.raises(BakeError, match="every builder was taken away") as raised:
        bakery.bake(site=site)

    lines = raised.value.details.splitlines()
    assert len(lines) == 4, "two in each subnet"
    assert all("g5.xlarge, spot" in line and "lost: " in line for line in lines)
    assert bakery.count() == EMPTY


def test_refusals_and_losses_are_told_in_one_list(bakery: Bakery) -> None:
    on_step(bakery, "40-pull-images", take_away(bakery, times=99))
    quota = Fault(
        fault="error", action="RunInstances", code="MaxSpotInstanceCountExceeded", status=400,
        when={"SubnetId": SUBNETS[0]},
    )  # fmt: skip
    bakery.cloud.faults = Faults([quota])
    site = bakery.site(capacity="spot", instance_types=("g5.xlarge",))

    with pytest.raises(BakeError) as raised:
        bakery.bake(site=site)

    assert "MaxSpotInstanceCountExceeded" in raised.value.details
    assert "lost: " in raised.value.details
    assert bakery.count() == EMPTY


def test_an_ami_begun_before_its_builder_was_lost_is_gone_on_with(bakery: Bakery) -> None:
    drop = Fault(fault="drop-after", action="CreateImage", times=1)
    bakery.cloud.faults = Faults([drop])
    bakery.cloud.latency.use(Profile(image_pending=1.5))

    def lose(machine: str) -> None:
        threading.Timer(0.5, machines(bakery).power_off_from_inside, [machine]).start()

    on_step(bakery, "95-quiesce", lose)
    bakery.bake()

    assert len(bakery.launches) == 2
    assert bakery.count() == ONE_AMI


def test_a_profile_that_is_not_seen_yet_is_waited_for_and_said_once(bakery: Bakery) -> None:
    unseen = Fault(
        fault="error", action="RunInstances", code="InvalidParameterValue", status=400, times=3,
        message="Value (builder) for parameter iamInstanceProfile.name is invalid. Invalid IAM "
        "Instance Profile name",
    )  # fmt: skip
    bakery.cloud.faults = Faults([unseen])

    bakery.bake()

    assert sum("does not see the instance profile yet" in line for line in bakery.said) == 1
    assert bakery.count() == ONE_AMI


def test_throttling_is_said_once_for_each_action(bakery: Bakery) -> None:
    bakery.cloud.faults = Faults([Fault(fault="throttle", action="SendCommand", times=3)])

    bakery.bake()

    told = [line for line in bakery.said if line.startswith("AWS: ")]
    assert told == ["AWS: ssm:SendCommand failed for now (ThrottlingException); trying again"]


def test_an_on_demand_builder_is_kept_stopped(bakery: Bakery) -> None:
    on_step(bakery, "20-system-update", lambda _: reply(fails=True, log="no mirror"))
    site = bakery.site(on_failure="keep", capacity="on-demand")

    with pytest.raises(StepError) as raised:
        bakery.bake(site=site)

    for part in ("is kept, stopped", "aws ec2 start-instances", "aws ssm start-session",
                 "/var/log/baked-ami", "aws ec2 terminate-instances"):  # fmt: skip
        assert part in raised.value.resolution
    assert states(bakery)["kept"] in ("stopping", "stopped")
    sent = ["\n".join(script.lines) for _, script in machines(bakery).scripts]
    assert any("run.sh keep-stopped" in script for script in sent)

    machines(bakery).answer = None
    bakery.bake(site=site)
    assert bakery.count() == ONE_AMI | {"machines": 1, "volumes": 1}, "it is left alone"


def test_without_credentials_it_stops_and_goes_on_after_a_sign_in(bakery: Bakery) -> None:
    expired = Fault(fault="expired-credentials", after=4, action="SendCommand")
    gone = Fault(fault="expired-credentials", action="TerminateInstances")
    bakery.cloud.faults = Faults([expired, gone])

    with pytest.raises(BakeError) as raised:
        bakery.bake()

    assert "Sign in again" in str(raised.value)
    assert "was left as it is: sign in again and run `pulumi up`" in raised.value.resolution
    assert bakery.count()["machines"] == 1

    bakery.cloud.faults = Faults()
    bakery.bake()
    assert len(bakery.launches) == 2, "the builder was gone on with"
    assert bakery.count() == ONE_AMI


def test_credentials_renewed_in_mid_bake_are_taken(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"

    def sign_in(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    sign_in("OLD")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def expire(_machine: str) -> None:
        old = Fault(fault="expired-credentials", when={"access_key": "OLD"})
        bakery.cloud.faults = Faults([old])
        sign_in("NEW")

    on_step(bakery, "36-agent-settings", expire)
    bakery.aws = Aws(bakery.cloud.region)
    bakery.bake()

    used = {call["access_key"] for call in bakery.cloud.calls.read()}
    assert {"OLD", "NEW"} <= used
    assert bakery.count() == ONE_AMI | {}


def test_what_an_earlier_bake_left_goes_with_the_next(bakery: Bakery) -> None:
    """Its client died, and then the content was changed: nobody would ever go on with it."""
    old = bakery.resolve(extra_steps=extra("content", "echo 1"))
    bakery.cloud.faults = Faults([Fault(fault="expired-credentials", action="SendCommand")])
    with pytest.raises(BakeError):
        bakery.bake(old)
    with pytest.raises(BakeError):
        bakery.bake(bakery.resolve(), lineage=bakery.lineage("prod"))
    bakery.cloud.faults = Faults()
    assert bakery.count()["machines"] == 2

    bakery.bake(bakery.resolve(extra_steps=extra("content", "echo 2")))

    assert bakery.count() == ONE_AMI | {"machines": 1, "volumes": 1}, "the other stack's stays"
    assert sum("which an earlier bake had left" in line for line in bakery.said) == 1


def test_a_wrong_clock_is_named(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    bakery.cloud.faults = Faults([Fault(fault="clock-skew", action="RunInstances")])
    monkeypatch.setattr("ami_provider.errors.get_clock_skew", lambda _error: 900.0)

    with pytest.raises(BakeError) as raised:
        bakery.bake()

    assert "this computer's clock is 15 min ahead of AWS's" in str(raised.value)


def test_an_ami_that_completes_after_the_time_out_is_found_next_time(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_aws = stop_clock(bakery.cloud, image_pending=6)
    recipe = bakery.resolve()
    ours = [0.0]
    with monkeypatch.context() as patch:

        def sleep(seconds: float) -> None:
            ours[0] += seconds

        patch.setattr(waiting, "sleep", sleep)
        patch.setattr(waiting, "now", lambda: ours[0])
        with pytest.raises(ImagePendingError, match="not available after 1 min") as raised:
            bakery.bake(recipe, bakery.site(timeouts=Timeouts(image=1)))
    assert "finds this AMI and goes on" in raised.value.resolution
    assert bakery.count()["machines"] == 0
    assert bakery.count()["images"] == 1

    of_aws.advance(6)
    bakery.bake(recipe)

    assert len(bakery.launches) == 2, "no second builder"
    assert bakery.count() == ONE_AMI


def bake_beside(bakery: Bakery, *stacks: str) -> list[BakedImage | Exception]:
    """The same content for several clients at once, each with its own connections."""
    recipe = bakery.resolve()
    together = threading.Barrier(len(stacks))
    results: list[Any] = [None] * len(stacks)

    def run(number: int, stack: str) -> None:
        aws = Aws(bakery.cloud.region)
        together.wait()
        try:
            results[number] = bake(
                recipe, bakery.site(), bakery.lineage(stack), aws=aws,
                report=bakery.said.append, user_tags={"stack": stack},
            )  # fmt: skip
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(stacks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def count_launches(bakery: Bakery) -> int:
    found = bakery.aws.ec2.describe_instances()["Reservations"]
    return sum(len(reservation["Instances"]) for reservation in found)


@pytest.mark.parametrize("stacks", [("dev", "dev"), ("dev", "prod")])
def test_two_clients_at_once_make_one_builder_and_one_ami(
    bakery: Bakery, stacks: tuple[str, str]
) -> None:
    bakery.cloud.latency.use(Profile(instance_pending=0.5, image_pending=0.5))

    results = bake_beside(bakery, *stacks)

    assert {r.ami_id for r in results if isinstance(r, BakedImage)} == {results[0].ami_id}, results  # type: ignore[union-attr]
    assert bakery.count() == ONE_AMI
    assert count_launches(bakery) == 2, "a builder and a verifier"


def test_the_follower_is_told_why_the_other_run_failed(bakery: Bakery) -> None:
    """Both work on one builder; whoever meets the failure first ends it."""
    bakery.cloud.latency.use(Profile(instance_pending=0.5))
    on_step(bakery, "30-registry-login", lambda _: reply(
        fails=True, log="baked-ami-failure: ecr-denied: docker login x: denied\n"
    ))  # fmt: skip

    results = bake_beside(bakery, "dev", "prod")

    assert all("ECR refuses the builder" in str(result) for result in results), results
    assert count_launches(bakery) <= 2
    assert bakery.count() == EMPTY
