"""AMIs are let go of: shared, kept for a rollback, in use, interrupted; on recorded machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ami_provider import tags, waiting
from ami_provider.bake import BakedImage, bake
from ami_provider.deleting import Owner, delete_ami, prune
from ami_provider.errors import BakeError
from ami_provider.provider import BakedAmiProvider
from local_cloud.faults import Fault, Faults, parse_faults
from tests.ami_provider.clouds import EMPTY, ONE_AMI, SUBNETS, Bakery, extra, open_bakery


@pytest.fixture(scope="module")
def module_bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        yield bakery


@pytest.fixture
def bakery(module_bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    """The shared cloud; no AMI, machine or template is left in it afterwards."""
    monkeypatch.setattr(waiting, "FIRST_S", 0.01)
    module_bakery.said.clear()
    yield module_bakery
    module_bakery.cloud.faults = Faults()
    ec2 = module_bakery.aws.ec2
    for reservation in ec2.describe_instances()["Reservations"]:
        ids = [machine["InstanceId"] for machine in reservation["Instances"]]
        ec2.terminate_instances(InstanceIds=ids)
    for image in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])


def owner(bakery: Bakery, stack: str = "dev") -> Owner:
    return Owner(bakery.aws, bakery.lineage(stack), bakery.said.append)


def delete(bakery: Bakery, baked: BakedImage, stack: str = "dev", *, ends: bool = False) -> str:
    return delete_ami(
        baked.ami_id,
        owner=owner(bakery, stack),
        nonce=baked.owner_nonce,
        snapshot_ids=baked.snapshot_ids,
        ends=ends,
    )


def bake_version(bakery: Bakery, version: int, stack: str = "dev", keep: int = 0) -> BakedImage:
    recipe = bakery.resolve(extra_steps=extra("mark", f"echo {version}"))
    return bakery.bake(recipe, lineage=bakery.lineage(stack), keep=keep)


def images(bakery: Bakery) -> set[str]:
    found = bakery.aws.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    assert {image["State"] for image in found} <= {"available"}
    return {image["ImageId"] for image in found}


def launch(bakery: Bakery, baked: BakedImage) -> str:
    made = bakery.aws.ec2.run_instances(
        ImageId=baked.ami_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0]
    )
    return made["Instances"][0]["InstanceId"]


def when_called(bakery: Bakery, action: str, act: Callable[[], Any]) -> None:
    """Do this right after the first call of the action, before its answer is seen."""
    done: list[str] = []

    def hook(**_: Any) -> None:
        if not done:
            done.append(action)
            act()

    bakery.aws.ec2.meta.events.register(f"after-call.ec2.{action}", hook)


def test_a_shared_ami_goes_with_its_last_owner(bakery: Bakery) -> None:
    first = bakery.bake()
    second = bakery.bake(lineage=bakery.lineage("prod"))

    assert delete(bakery, first) == "shared"
    assert bakery.count() == ONE_AMI
    assert delete(bakery, first) == "shared", "again"
    assert delete(bakery, second, "prod") == "deleted"
    assert bakery.count() == EMPTY
    assert delete(bakery, second, "prod") == "deleted", "again"


def test_a_stale_owner_deletes_nothing(bakery: Bakery) -> None:
    first = bakery.bake()
    again = bakery.bake()  # The same resource made it once more: a rollback.

    assert delete(bakery, first) == "stale"
    assert bakery.count() == ONE_AMI
    assert delete(bakery, again) == "deleted"


def test_the_engines_delete_may_be_repeated(bakery: Bakery) -> None:
    baked = bakery.bake()
    state = {
        "lineage": bakery.lineage().model_dump(),
        "region": bakery.aws.region,
        "owner_nonce": baked.owner_nonce,
        "snapshot_ids": list(baked.snapshot_ids),
    }
    for _ in range(2):
        BakedAmiProvider().delete(baked.ami_id, state)
        assert bakery.count() == EMPTY


def test_what_was_left_of_an_ami_deregistered_by_hand_goes(bakery: Bakery) -> None:
    baked = bakery.bake()
    bakery.aws.ec2.deregister_image(ImageId=baked.ami_id)
    assert bakery.count()["snapshots"] == 1
    assert delete(bakery, baked) == "deleted"
    assert bakery.count() == EMPTY


def test_a_protected_ami_goes_too(bakery: Bakery) -> None:
    baked = bakery.bake()
    bakery.aws.ec2.enable_image_deregistration_protection(ImageId=baked.ami_id)
    assert delete(bakery, baked) == "deleted"
    assert bakery.count() == EMPTY


def test_one_deregistered_by_hand_does_not_take_its_successor_along(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tag, and with it its turn, went with it; even a clock that runs backwards is borne."""
    first = bake_version(bakery, 1, keep=1)
    first = bake_version(bakery, 1, keep=1)
    bakery.aws.ec2.deregister_image(ImageId=first.ami_id)
    monkeypatch.setattr("ami_provider.ownership.time.time", lambda: 5.0)
    again = bake_version(bakery, 1, keep=1)
    assert delete(bakery, first) == "deleted"
    assert images(bakery) == {again.ami_id}
    assert bakery.count() == ONE_AMI


def test_of_five_rebuilds_the_last_two_stay_and_destroy_takes_them(bakery: Bakery) -> None:
    made = [bake_version(bakery, 0, keep=2)]
    for version in range(1, 6):
        made.append(bake_version(bakery, version, keep=2))
        assert delete(bakery, made[-2]) == "kept"
        stay = {image.ami_id for image in made[-3:]}
        assert images(bakery) == stay
        assert bakery.count()["snapshots"] == len(stay)
    assert delete(bakery, made[-2]) == "kept", "again"
    assert delete(bakery, made[0]) == "deleted", "one that is gone, again"
    assert len(images(bakery)) == 3
    assert delete(bakery, made[-1]) == "deleted"
    assert bakery.count() == EMPTY


def test_a_claim_that_is_seen_late_counts_all_the_same(bakery: Bakery) -> None:
    """EC2 shows tags a while after they were written: a delete may come sooner than that."""
    first = bake_version(bakery, 1, keep=1)
    unseen = {"fault": "unseen", "of": "tags", "looks": 20, "when": {"tag:team": "vision"}}
    bakery.cloud.faults = Faults(parse_faults(json.dumps([unseen])))
    second = bake_version(bakery, 2, keep=1)
    assert delete(bakery, first) == "kept"
    bakery.cloud.faults = Faults()
    assert images(bakery) == {first.ami_id, second.ami_id}


def test_a_rollback_finds_the_kept_ami_and_the_way_forward_stays_open(bakery: Bakery) -> None:
    first = bake_version(bakery, 1, keep=1)
    second = bake_version(bakery, 2, keep=1)
    assert delete(bakery, first) == "kept"
    launched = len(bakery.launches)
    back = bake_version(bakery, 1, keep=1)
    assert (back.ami_id, back.adopted) == (first.ami_id, True)
    assert delete(bakery, second) == "kept"
    forward = bake_version(bakery, 2, keep=1)
    assert forward.ami_id == second.ami_id
    assert delete(bakery, back) == "kept"
    assert len(bakery.launches) == launched
    assert images(bakery) == {first.ami_id, second.ami_id}
    assert delete(bakery, forward) == "deleted"
    assert bakery.count() == EMPTY


def test_an_adopted_ami_has_the_tags_that_are_asked_for_now(bakery: Bakery) -> None:
    """After a rollback to one that was baked under others; another owner's own tags stay."""
    recipe, first = bakery.resolve(), bakery.bake()

    def adopt(stack: str, **named: str) -> list[dict[str, str]]:
        bake(recipe, bakery.site(), bakery.lineage(stack), aws=bakery.aws,
             report=bakery.said.append, user_tags=named)  # fmt: skip
        ec2 = bakery.aws.ec2
        (image,) = ec2.describe_images(ImageIds=[first.ami_id])["Images"]
        (disk,) = ec2.describe_snapshots(SnapshotIds=list(first.snapshot_ids))["Snapshots"]
        return [tags.to_mapping(one["Tags"]) for one in (image, disk)]

    for found in adopt("dev", team="audio"):
        assert found["team"] == "audio"
    for found in adopt("prod", team="vision", env="prod"):
        assert (found["team"], found["env"]) == ("audio", "prod")


@pytest.mark.parametrize("keep", [0, 3])
def test_a_roll_out_that_failed_is_undone_whatever_is_kept(bakery: Bakery, keep: int) -> None:
    """As the engine does it: the new AMI is made, the rest fails, the old settings come back."""
    first = bake_version(bakery, 1, keep=keep)
    failed = bake_version(bakery, 2, keep=keep)
    again = bake_version(bakery, 1, keep=keep)
    assert again.ami_id == first.ami_id
    assert delete(bakery, first) == "stale"
    assert delete(bakery, failed) == "deleted"
    assert images(bakery) == {first.ami_id}


def test_fewer_are_kept_from_the_next_update_on(bakery: Bakery) -> None:
    made = [bake_version(bakery, 0, keep=3)]
    for version in range(1, 4):
        made.append(bake_version(bakery, version, keep=3))
        delete(bakery, made[-2])
    assert len(images(bakery)) == 4
    prune(made[-1].ami_id, 1, owner(bakery))
    assert images(bakery) == {made[-1].ami_id, made[-2].ami_id}
    prune(made[-1].ami_id, 0, owner(bakery))
    assert images(bakery) == {made[-1].ami_id}
    assert bakery.count() == ONE_AMI


def test_an_ami_left_by_a_lost_state_goes_with_the_lineage(bakery: Bakery) -> None:
    bake_version(bakery, 1)
    current = bake_version(bakery, 2)
    assert delete(bakery, current) == "deleted"
    assert bakery.count() == EMPTY


@pytest.mark.parametrize("used", [False, True])
def test_the_end_of_a_resource_takes_along_what_a_killed_create_made(
    bakery: Bakery, used: bool
) -> None:
    """No state knows the later AMI, so nothing else would ever delete it. In use, it is told."""
    first, later = bake_version(bakery, 1), bake_version(bakery, 2)
    if used:
        launch(bakery, later)

    assert delete(bakery, first, ends=True) == "deleted"

    assert images(bakery) == ({later.ami_id} if used else set())
    assert used == (f"{later.ami_id}, another AMI of this resource, stays" in bakery.said[-1])


def test_a_kept_ami_in_use_is_not_pruned_until_it_is_free(bakery: Bakery) -> None:
    first, second = bake_version(bakery, 1, keep=1), bake_version(bakery, 2, keep=1)
    delete(bakery, first)
    machine = launch(bakery, first)
    third = bake_version(bakery, 3, keep=1)
    assert delete(bakery, second) == "kept"
    assert images(bakery) == {first.ami_id, second.ami_id, third.ami_id}
    assert f"{first.ami_id}, an earlier AMI, stays for now: machine {machine} (" in bakery.said[-1]

    with pytest.raises(BakeError, match=f"{first.ami_id} is still in use"):
        delete(bakery, third)
    assert len(images(bakery)) == 3, "a destroy takes all or nothing"
    bakery.aws.ec2.terminate_instances(InstanceIds=[machine])
    fourth = bake_version(bakery, 4, keep=1)
    assert delete(bakery, third) == "kept"
    assert images(bakery) == {third.ami_id, fourth.ami_id}


def test_one_stack_lets_go_of_what_another_keeps(bakery: Bakery) -> None:
    first = bake_version(bakery, 1, keep=1)
    shared = bake_version(bakery, 1, "prod")
    assert shared.ami_id == first.ami_id
    second = bake_version(bakery, 2, keep=1)
    assert delete(bakery, first) == "kept"
    assert delete(bakery, shared, "prod") == "shared", "dev may want to roll back to it"
    assert images(bakery) == {first.ami_id, second.ami_id}
    assert delete(bakery, second) == "deleted"
    assert bakery.count() == EMPTY


def test_two_last_owners_that_let_go_at_once_leave_nothing(bakery: Bakery) -> None:
    mine, theirs = bakery.bake(), bakery.bake(lineage=bakery.lineage("prod"))
    key = tags.get_owner_key(bakery.lineage("prod"))
    when_called(
        bakery,
        "DeleteTags",
        lambda: bakery.aws.ec2.delete_tags(Resources=[theirs.ami_id], Tags=[{"Key": key}]),
    )
    assert delete(bakery, mine) == "deleted"
    assert bakery.count() == EMPTY


@pytest.mark.parametrize(("who", "told"), [("prod", "shared"), ("dev", "stale")])
def test_one_who_takes_it_in_the_last_moment_has_it(bakery: Bakery, who: str, told: str) -> None:
    baked = bakery.bake()
    bakery.aws.ec2.modify_image_attribute(
        ImageId=baked.ami_id, LaunchPermission={"Add": [{"UserId": "210987654321"}]}
    )
    key = tags.get_owner_key(bakery.lineage(who))
    when_called(
        bakery,
        "DisableImage",
        lambda: bakery.aws.ec2.create_tags(
            Resources=[baked.ami_id], Tags=[{"Key": key, "Value": "9.9.abc"}]
        ),
    )
    assert delete(bakery, baked) == told
    image = bakery.aws.ec2.describe_images(ImageIds=[baked.ami_id])["Images"][0]
    assert image["State"] == "available"
    assert list(tags.find_owners(tags.to_mapping(image["Tags"])).values()) == ["9.9.abc"]
    shared = bakery.aws.ec2.describe_image_attribute(
        ImageId=baked.ami_id, Attribute="launchPermission"
    )
    assert shared["LaunchPermissions"] == [{"UserId": "210987654321"}]


def test_a_machine_launched_in_the_last_moment_saves_it(bakery: Bakery) -> None:
    baked = bakery.bake()
    found: list[str] = []
    when_called(bakery, "DescribeImageAttribute", lambda: found.append(launch(bakery, baked)))
    with pytest.raises(BakeError, match="still in use") as raised:
        delete(bakery, baked)
    assert found[0] in raised.value.details
    assert images(bakery) == {baked.ami_id}


def test_an_interrupted_delete_is_taken_up_or_undone_by_a_create(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ami_provider.bake.GIVE_UP_S", 0.2)
    baked = bakery.bake()
    bakery.aws.ec2.disable_image(ImageId=baked.ami_id)  # The last that an earlier run did.
    again = bakery.bake()
    assert (again.ami_id, again.adopted) == (baked.ami_id, True)
    assert images(bakery) == {baked.ami_id}
    bakery.aws.ec2.disable_image(ImageId=baked.ami_id)
    assert delete(bakery, again) == "deleted"
    assert bakery.count() == EMPTY


def test_a_create_waits_for_a_delete_that_is_under_way(bakery: Bakery) -> None:
    baked = bakery.bake()
    bakery.aws.ec2.disable_image(ImageId=baked.ami_id)
    when_called(
        bakery,
        "CreateTags",
        lambda: bakery.aws.ec2.deregister_image(
            ImageId=baked.ami_id, DeleteAssociatedSnapshots=True
        ),
    )
    again = bakery.bake()
    assert again.ami_id != baked.ami_id
    assert not again.adopted
    assert bakery.count() == ONE_AMI


@pytest.mark.parametrize(
    "action",
    ["DescribeImages", "DescribeInstances", "DescribeImageReferences", "DescribeImageAttribute",
     "DisableImage", "DeleteTags", "DeregisterImage", "DescribeSnapshots"],
)  # fmt: skip
def test_a_denied_call_changes_no_ami_of_others_and_is_named(bakery: Bakery, action: str) -> None:
    first = bake_version(bakery, 1)
    other = bake_version(bakery, 1, "prod")
    second = bake_version(bakery, 2)
    denied = Fault(
        service="ec2", action=action, fault="error", code="UnauthorizedOperation", status=403
    )
    bakery.cloud.faults = Faults([denied])
    if action == "DeleteTags":
        with pytest.raises(BakeError, match=f"permission ec2:{action} is missing"):
            delete(bakery, first)
    else:
        with pytest.raises(BakeError, match=f"permission ec2:{action} is missing"):
            delete(bakery, second)
    bakery.cloud.faults = Faults()
    assert first.ami_id in images_of_any_state(bakery)
    assert delete(bakery, second) == "deleted"
    assert delete(bakery, other, "prod") in ("deleted", "shared")
    delete(bakery, first)
    assert bakery.count() == EMPTY


def images_of_any_state(bakery: Bakery) -> set[str]:
    found = bakery.aws.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    return {image["ImageId"] for image in found}
