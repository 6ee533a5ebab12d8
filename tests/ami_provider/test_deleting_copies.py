"""Copies in other regions go with their AMI, stay with it, and keep it while they are in use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ami_provider import waiting
from ami_provider.bake import BakedImage
from ami_provider.deleting import Owner, delete_ami, prune
from ami_provider.errors import BakeError
from ami_provider.publication import CopyTo, Publication
from ami_provider.publishing import publish
from tests.ami_provider.clouds import EMPTY, Bakery, extra, open_bakery

WEST, EAST = "us-west-2", "us-east-1"


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    monkeypatch.setattr(waiting, "FIRST_S", 0.01)
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


def owner(bakery: Bakery, stack: str = "dev") -> Owner:
    return Owner(bakery.aws, bakery.lineage(stack), bakery.said.append)


def bake(
    bakery: Bakery, version: int, *regions: str, stack: str = "dev", keep: int = 0
) -> BakedImage:
    """A version of this stack, with copies in these regions."""
    recipe = bakery.resolve(extra_steps=extra("mark", f"echo {version}"))
    baked = bakery.bake(recipe, lineage=bakery.lineage(stack), keep=keep)
    publish(
        baked.ami_id,
        Publication(copies=tuple(CopyTo(region=region) for region in regions)),
        lineage=bakery.lineage(stack),
        aws=bakery.aws,
        report=bakery.said.append,
        timeout_s=60,
        user_tags={},
    )
    return baked


def delete(
    bakery: Bakery, baked: BakedImage, stack: str = "dev", regions: tuple[str, ...] = ()
) -> str:
    return delete_ami(
        baked.ami_id,
        owner=owner(bakery, stack),
        nonce=baked.owner_nonce,
        snapshot_ids=baked.snapshot_ids,
        regions=regions,
    )


def count(bakery: Bakery, region: str) -> tuple[int, int]:
    """AMIs and snapshots of the account in the region."""
    ec2 = bakery.aws.at(region).ec2
    images = ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    return len(images), len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])


def test_copies_go_with_their_ami(bakery: Bakery) -> None:
    baked = bake(bakery, 1, WEST, EAST)
    assert (count(bakery, WEST), count(bakery, EAST)) == ((1, 1), (1, 1))
    for _ in range(2):
        assert delete(bakery, baked, regions=(WEST, EAST)) == "deleted"
        assert (count(bakery, WEST), count(bakery, EAST)) == ((0, 0), (0, 0))
        assert bakery.count() == EMPTY


def test_copies_go_also_where_the_ami_was_deregistered_by_hand(bakery: Bakery) -> None:
    baked = bake(bakery, 1, WEST)
    bakery.aws.ec2.deregister_image(ImageId=baked.ami_id)
    assert delete(bakery, baked, regions=(WEST,)) == "deleted"
    assert count(bakery, WEST) == (0, 0)
    assert bakery.count() == EMPTY


def test_a_copy_in_use_keeps_its_ami(bakery: Bakery) -> None:
    baked = bake(bakery, 1, WEST)
    there = bakery.aws.at(WEST).ec2
    copy = there.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    machine = there.run_instances(ImageId=copy, InstanceType="g5.xlarge", MinCount=1, MaxCount=1)[
        "Instances"
    ][0]["InstanceId"]
    with pytest.raises(BakeError, match=f"the AMI {copy} is still in use") as raised:
        delete(bakery, baked)
    assert machine in raised.value.details
    assert bakery.count()["images"] == 1
    there.terminate_instances(InstanceIds=[machine])
    assert delete(bakery, baked) == "deleted"
    assert count(bakery, WEST) == (0, 0)


def test_a_kept_ami_keeps_its_copies_until_it_goes(bakery: Bakery) -> None:
    first = bake(bakery, 1, WEST, keep=1)
    second = bake(bakery, 2, WEST, keep=1)
    assert delete(bakery, first, regions=(WEST,)) == "kept"
    assert count(bakery, WEST) == (2, 2)
    prune(second.ami_id, 0, owner(bakery))
    assert count(bakery, WEST) == (1, 1)
    assert delete(bakery, second, regions=(WEST,)) == "deleted"
    assert count(bakery, WEST) == (0, 0)


def test_only_what_one_owner_asked_for_goes_with_it(bakery: Bakery) -> None:
    mine = bake(bakery, 1, WEST, EAST)
    theirs = bake(bakery, 1, EAST, stack="prod")
    assert mine.ami_id == theirs.ami_id
    assert delete(bakery, mine) == "shared"
    assert (count(bakery, WEST), count(bakery, EAST)) == ((0, 0), (1, 1))
    assert delete(bakery, theirs, "prod") == "deleted"
    assert count(bakery, EAST) == (0, 0)
