"""A bake through faults of every AWS call it makes: it succeeds, or says so, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.errors import BakeError
from local_cloud.faults import Fault, Faults
from tests.ami_provider.clouds import EMPTY, ONE_AMI, Bakery, open_bakery

CALLS = (
    ("ec2", "DescribeImages"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeInstanceTypes"),
    ("ec2", "RunInstances"),
    ("ec2", "CreateTags"),
    ("ec2", "CreateImage"),
    ("ec2", "TerminateInstances"),
    ("ssm", "DescribeInstanceInformation"),
    ("ssm", "SendCommand"),
    ("ssm", "GetCommandInvocation"),
)
"""Every call of a bake; the first test holds this list against what a bake really asks."""

NEEDED = tuple(c for c in CALLS if c[1] not in ("TerminateInstances", "DescribeInstanceTypes"))

Kind = Literal["throttle", "error", "timeout", "drop-before", "drop-after"]
SHORT: tuple[tuple[Kind, int], ...] = (
    ("throttle", 3),
    ("error", 2),
    ("drop-before", 1),
    ("drop-after", 1),
)


@pytest.fixture(scope="module")
def module_bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        yield bakery


@pytest.fixture
def bakery(module_bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    """The shared cloud, emptied afterwards, with waits that take no time."""
    elapsed = [0.0]

    def sleep(seconds: float) -> None:
        elapsed[0] += seconds

    monkeypatch.setattr(waiting, "sleep", sleep)
    monkeypatch.setattr(waiting, "now", lambda: elapsed[0])
    monkeypatch.setattr("botocore.endpoint.time.sleep", sleep)
    monkeypatch.setattr("botocore.retries.bucket.TokenBucket.acquire", lambda *_, **__: True)
    module_bakery.aws = Aws(module_bakery.cloud.region)  # Adaptive clients remember throttling.
    yield module_bakery
    module_bakery.cloud.faults = Faults()
    clear(module_bakery)


def clear(bakery: Bakery) -> None:
    """Remove machines and AMIs, so that the next bake starts from nothing."""
    for reservation in bakery.aws.ec2.describe_instances()["Reservations"]:
        ids = [machine["InstanceId"] for machine in reservation["Instances"]]
        bakery.aws.ec2.terminate_instances(InstanceIds=ids)
    for image in bakery.aws.ec2.describe_images(Owners=["self"])["Images"]:
        bakery.aws.ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in bakery.aws.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        bakery.aws.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    assert bakery.count() == EMPTY


def break_calls(bakery: Bakery, service: str, action: str, kind: Kind, times: int | None) -> None:
    fault = Fault(service=service, action=action, fault=kind, times=times, seconds=0)
    bakery.cloud.faults = Faults([fault])


def test_the_list_has_every_call_of_a_bake(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    before = len(bakery.cloud.calls.read())
    bakery.bake(recipe)

    asked = bakery.cloud.calls.read()[before:]
    assert {(call["service"], call["action"]) for call in asked} == set(CALLS)


@pytest.mark.parametrize(("kind", "times"), SHORT)
@pytest.mark.parametrize(("service", "action"), CALLS)
def test_a_fault_that_passes_is_survived(
    bakery: Bakery, service: str, action: str, kind: Kind, times: int
) -> None:
    recipe = bakery.resolve()
    break_calls(bakery, service, action, kind, times)

    bakery.bake(recipe)

    assert bakery.count() == ONE_AMI


@pytest.mark.parametrize("kind", ["throttle", "error"])
@pytest.mark.parametrize(("service", "action"), NEEDED)
def test_a_fault_that_stays_is_told_and_leaves_nothing(
    bakery: Bakery, service: str, action: str, kind: Kind
) -> None:
    recipe = bakery.resolve()
    break_calls(bakery, service, action, kind, None)

    with pytest.raises(BakeError) as raised:
        bakery.bake(recipe)

    assert raised.value.brief
    assert action in str(raised.value)
    bakery.cloud.faults = Faults()
    assert bakery.count() == EMPTY


@pytest.mark.parametrize("kind", ["throttle", "error"])
def test_a_machine_that_cannot_be_ended_is_told_at_the_end(bakery: Bakery, kind: Kind) -> None:
    recipe = bakery.resolve()
    break_calls(bakery, "ec2", "TerminateInstances", kind, None)

    baked = bakery.bake(recipe)

    bakery.cloud.faults = Faults()
    assert len(baked.warnings) == 2
    assert all("aws ec2 terminate-instances" in warning for warning in baked.warnings)
    assert bakery.count() == ONE_AMI | {"machines": 2, "volumes": 2}


@pytest.mark.parametrize("kind", ["throttle", "error"])
def test_types_that_cannot_be_looked_up_are_known_by_name(bakery: Bakery, kind: Kind) -> None:
    recipe = bakery.resolve()
    break_calls(bakery, "ec2", "DescribeInstanceTypes", kind, None)

    bakery.bake(recipe)

    assert bakery.count() == ONE_AMI
