"""The client dies after any AWS call of a delete; the same once more gives the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.deleting import Owner, delete_ami, prune
from ami_provider.ownership import claim_image
from tests.ami_provider.clouds import Bakery
from tests.ami_provider.matrix import (
    KilledError,
    PhasedAws,
    open_matrix,
    outcome,
)
from tests.waiting import PATIENT

Record = Callable[[str, object], None]


@dataclass
class Lineage:
    """Three AMIs of `dev`, which keeps one: the first two are earlier ones, the last is current.

    `prod` has the second one too. Each has its claim, as the states have it.
    """

    bakery: Bakery
    images: list[str]
    claims: dict[str, str]

    def owner(self, aws: Aws, stack: str = "dev") -> Owner:
        return Owner(aws, self.bakery.lineage(stack), self.bakery.said.append)

    def delete(self, aws: Aws, number: int) -> None:
        image = self.images[number]
        delete_ami(image, owner=self.owner(aws), nonce=self.claims[image])

    def left(self) -> dict[int, tuple[str, int]]:
        """Number of each AMI that is left -> its state and how many own it; nothing else is."""
        ec2 = self.bakery.aws.ec2
        found = ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
        disks = {m["Ebs"]["SnapshotId"] for i in found for m in i["BlockDeviceMappings"]}
        held = {s["SnapshotId"] for s in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
        assert held == disks, "a snapshot without its AMI, or the other way round"
        return {
            self.images.index(i["ImageId"]): (
                i["State"], len(tags.find_owners(tags.to_mapping(i["Tags"]))),
            )
            for i in found
        }  # fmt: skip


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with open_matrix() as bakery:
        yield bakery


@pytest.fixture(scope="module")
def machine(bakery: Bakery) -> str:
    """Something to make AMIs of, at once."""
    base = bakery.resolve().base.ami_id
    made = bakery.aws.ec2.run_instances(
        ImageId=base, InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    bakery.aws.ec2.get_waiter("instance_running").wait(InstanceIds=[made])
    return str(made)


def create(bakery: Bakery, machine: str) -> Lineage:
    ec2, dev = bakery.aws.ec2, bakery.lineage()
    made = [
        str(ec2.create_image(InstanceId=machine, Name=f"made-{n}", NoReboot=True)["ImageId"])
        for n in range(3)
    ]
    ec2.get_waiter("image_available").wait(ImageIds=made, WaiterConfig=PATIENT)
    lineage = Lineage(bakery, made, {})
    for number, image in enumerate(made):
        lineage.claims[image] = str(claim_image(bakery.aws, image, dev, 5))
        if number:
            lineage.delete(bakery.aws, number - 1)
    claim_image(bakery.aws, made[1], bakery.lineage("prod"))
    return lineage


def remove(bakery: Bakery, lineage: Lineage) -> None:
    for image in lineage.left():
        bakery.aws.ec2.deregister_image(
            ImageId=lineage.images[image], DeleteAssociatedSnapshots=True
        )


def keep_one(lineage: Lineage, aws: Aws) -> None:
    """As an update in place does it."""
    prune(lineage.images[2], 1, lineage.owner(aws))


def replace(lineage: Lineage, aws: Aws) -> None:
    """The current AMI is replaced by the first one, which is then the only one to stay."""
    claim_image(aws, lineage.images[0], lineage.bakery.lineage(), 0)
    lineage.delete(aws, 2)


def destroy(lineage: Lineage, aws: Aws) -> None:
    lineage.delete(aws, 2)


ENDS: list[tuple[Callable[[Lineage, Aws], None], dict[int, tuple[str, int]]]] = [
    (keep_one, {1: ("available", 2), 2: ("available", 1)}),
    (replace, {0: ("available", 1), 1: ("available", 1)}),
    (destroy, {1: ("available", 1)}),
]


@pytest.mark.parametrize(("act", "end"), ENDS, ids=[act.__name__ for act, _ in ENDS])
def test_after_any_death_the_same_again_gives_the_same_end(
    bakery: Bakery,
    machine: str,
    act: Callable[[Lineage, Aws], None],
    end: dict[int, tuple[str, int]],
    record_property: Record,
) -> None:
    """After each call is the same for AWS as before the next one."""
    lineage = create(bakery, machine)
    whole = PhasedAws(bakery.cloud.region)
    act(lineage, whole)
    assert lineage.left() == end
    remove(bakery, lineage)
    with outcome(f"{act.__name__} killed after the call", record_property) as went:
        for number in range(1, len(whole.calls) + 1):
            lineage = create(bakery, machine)
            dying = PhasedAws(bakery.cloud.region)
            dying.moment, dying.dies = "after", lambda _cell, n, at=number: n == at  # type: ignore[misc]
            with pytest.raises(KilledError):
                act(lineage, dying)
            act(lineage, PhasedAws(bakery.cloud.region))
            went.cells += 1
            if lineage.left() == end:
                went.succeeded += 1
            else:
                went.wrong.append(f"{dying.calls[-1].action} ({number}): {lineage.left()}")
            remove(bakery, lineage)
