"""An AMI shared, copied, deprecated, protected, and all of it taken back; broken off anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ami_provider.copies import find_copies
from ami_provider.errors import BakeError
from ami_provider.image_state import Image
from ami_provider.publication import Publication
from ami_provider.publishing import Published, observe, publish, withdraw
from ami_provider.wishes import read_all
from local_cloud.faults import Fault, Faults
from tests.ami_provider.clouds import GROUP, SUBNETS, Bakery, open_bakery

A, B, C = "111111111111", "222222222222", "333333333333"
WEST, EAST = "us-west-2", "us-east-1"
MUTATING = ("Create", "Modify", "Enable", "Disable", "Copy", "Delete", "Deregister")


class Cut(BaseException):
    """The process ends here."""


@dataclass
class Ami:
    """An AMI in a local cloud, and what a test does to it."""

    bakery: Bakery
    id: str
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for region in (self.bakery.cloud.region, WEST, EAST):
            events = self.bakery.aws.at(region).ec2.meta.events
            events.register("before-call.ec2", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        if model.name.startswith(MUTATING):
            self.calls.append(model.name)

    def publish(self, stack: str = "dev", **given: Any) -> Published:
        return publish(
            self.id,
            Publication(**given) if given else None,
            lineage=self.bakery.lineage(stack),
            aws=self.bakery.aws,
            report=self.bakery.said.append,
            timeout_s=30,
            user_tags={"team": "vision"},
        )

    def observe(self, stack: str = "dev", **given: Any) -> Published:
        asked = Publication(**given) if given else None
        image = Image(self.id, "", "", tags=self.tags())
        lineage = self.bakery.lineage(stack)
        return observe(image, asked, {}, lineage=lineage, aws=self.bakery.aws)

    def describe(self) -> dict[str, Any]:
        (found,) = self.bakery.aws.ec2.describe_images(ImageIds=[self.id])["Images"]
        return dict(found)

    def tags(self) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.describe().get("Tags", [])}

    def snapshot(self) -> str:
        return str(self.describe()["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])

    def accounts(self) -> set[str]:
        found = self.bakery.aws.ec2.describe_image_attribute(
            ImageId=self.id, Attribute="launchPermission"
        )
        return set(_names(found["LaunchPermissions"]))

    def readers(self) -> set[str]:
        found = self.bakery.aws.ec2.describe_snapshot_attribute(
            SnapshotId=self.snapshot(), Attribute="createVolumePermission"
        )
        return {one["UserId"] for one in found["CreateVolumePermissions"]}

    def copies(self) -> dict[str, Image]:
        return dict(find_copies(self.bakery.aws, Image(self.id, "", ""), (WEST, EAST)))

    def held(self) -> dict[str, Any]:
        """All that there is of the AMI in any region, without IDs."""
        return {
            region: self._held(self.bakery.aws.at(region).ec2)
            for region in (self.bakery.cloud.region, WEST, EAST)
        }

    def _held(self, ec2: Any) -> tuple[list[Any], int]:
        images = ec2.describe_images(Owners=["self"])["Images"]
        stands = []
        for image in images:
            shared = ec2.describe_image_attribute(
                ImageId=image["ImageId"], Attribute="launchPermission"
            )
            named = {t["Key"]: t["Value"] for t in image["Tags"] if "source" not in t["Key"]}
            until = image.get("DeprecationTime")
            protected = image["DeregistrationProtection"]
            stands.append((until, protected, _names(shared["LaunchPermissions"]), named))
        return stands, len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])


def _names(permissions: Any) -> list[str]:
    return sorted(str(next(iter(one.values()))) for one in permissions)


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as opened:
        yield opened


@pytest.fixture
def ami(bakery: Bakery) -> Iterator[Ami]:
    """A new AMI; whatever is left of it and its copies is removed afterwards."""
    made = Ami(bakery, _create(bakery))
    yield made
    for region in (bakery.cloud.region, WEST, EAST):
        ec2 = bakery.aws.at(region).ec2
        for image in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
            ec2.disable_image_deregistration_protection(ImageId=image["ImageId"])
            ec2.deregister_image(ImageId=image["ImageId"])
        for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def _create(bakery: Bakery) -> str:
    ec2 = bakery.aws.ec2
    base = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    (machine,) = ec2.run_instances(
        ImageId=base, MinCount=1, MaxCount=1, InstanceType="g5.xlarge",
        SubnetId=SUBNETS[0], SecurityGroupIds=[GROUP],
    )["Instances"]  # fmt: skip
    ec2.get_waiter("instance_running").wait(InstanceIds=[machine["InstanceId"]])
    named: Any = [{"ResourceType": "image", "Tags": [{"Key": "team", "Value": "vision"}]}]
    image = ec2.create_image(
        InstanceId=machine["InstanceId"], Name="baked-ami-gpu-1", TagSpecifications=named
    )["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image])
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    return image


def test_accounts_are_added_changed_and_taken_away(ami: Ami) -> None:
    for _ in range(2):
        assert ami.publish(share_with=(A, B)).state["shared_with"] == [A, B]
        assert ami.accounts() == {A, B}
    assert ami.publish(share_with=(B, C)).state["shared_with"] == [B, C]
    assert ami.accounts() == {B, C}
    for _ in range(2):
        assert ami.publish().state == {}
        assert ami.accounts() == set()
    assert not any(key.startswith("baked-ami:publication/") for key in ami.tags())


def test_a_second_run_calls_nothing_that_changes_anything(ami: Ami) -> None:
    given: dict[str, Any] = {
        "share_with": (A,), "share_snapshots": True, "copies": ({"region": WEST},),
        "deprecate_after_days": 30, "deregistration_protection": True,
    }  # fmt: skip
    first = ami.publish(**given)
    ami.calls.clear()
    assert ami.publish(**given) == first
    assert ami.calls == []
    assert ami.observe(**given) == first


def test_what_nobody_asked_for_is_left_alone_and_what_was_asked_for_is_exact(ami: Ami) -> None:
    ec2 = ami.bakery.aws.ec2
    ec2.modify_image_attribute(ImageId=ami.id, LaunchPermission={"Add": [{"UserId": C}]})
    ami.publish(deregistration_protection=True)
    assert ami.accounts() == {C}
    ami.publish(share_with=(A,))
    assert ami.accounts() == {A}
    assert ami.describe()["DeregistrationProtection"] == "disabled"
    ami.publish(share_with=())
    assert ami.accounts() == set()


def test_snapshots_are_shared_only_where_asked(ami: Ami) -> None:
    ami.publish(share_with=(A, B))
    assert ami.readers() == set()
    ami.publish(share_with=(A, B), share_snapshots=True)
    assert ami.readers() == {A, B}
    ami.publish(share_with=(B,), share_snapshots=True)
    assert ami.readers() == {B}
    ami.publish(share_with=(B,))
    assert (ami.accounts(), ami.readers()) == ({B}, set())


def test_a_date_by_days_counts_from_the_amis_creation(ami: Ami) -> None:
    created = datetime.fromisoformat(ami.describe()["CreationDate"])
    ami.publish(deprecate_after_days=10)
    until = datetime.fromisoformat(ami.describe()["DeprecationTime"])
    assert until == (created + timedelta(days=10)).replace(second=0, microsecond=0)
    ami.publish(deprecate_at="2031-05-01")
    assert ami.describe()["DeprecationTime"] == "2031-05-01T00:00:00.000Z"
    ami.publish(share_with=(A,))
    assert "DeprecationTime" not in ami.describe()


def test_a_date_that_passed_is_set_once_to_the_soonest_that_ec2_takes(ami: Ami) -> None:
    ami.publish(deprecate_at="2020-01-01")
    until = datetime.fromisoformat(ami.describe()["DeprecationTime"])
    assert timedelta(0) < until - datetime.now(UTC) < timedelta(minutes=3)
    ami.calls.clear()
    ami.publish(deprecate_at="2020-01-01")
    assert ami.calls == []


def test_protection_is_switched_on_and_off(ami: Ami) -> None:
    ami.publish(deregistration_protection=True)
    assert ami.describe()["DeregistrationProtection"] == "enabled-without-cooldown"
    ami.publish(share_with=(A,))
    assert ami.describe()["DeregistrationProtection"] == "disabled"


def test_copies_stand_as_the_ami_does_and_go_with_their_snapshots(ami: Ami) -> None:
    given: dict[str, Any] = {"share_with": (A,), "deregistration_protection": True}
    made = ami.publish(**given, copies=({"region": WEST}, {"region": EAST}))
    assert made.copies.keys() == {WEST, EAST}
    for region, copy in made.copies.items():
        ec2 = ami.bakery.aws.at(region).ec2
        (found,) = ec2.describe_images(ImageIds=[copy])["Images"]
        assert found["State"] == "available"
        assert found["DeregistrationProtection"] == "enabled-without-cooldown"
        (snapshot,) = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        for tagged in (found["Tags"], snapshot["Tags"]):
            named = {tag["Key"]: tag["Value"] for tag in tagged}
            assert named["team"] == "vision"
            assert named["baked-ami:source"] == f"{ami.bakery.cloud.region}/{ami.id}"
    ami.publish(**given, copies=({"region": EAST},))
    assert ami.copies().keys() == {EAST}
    assert ami.bakery.aws.at(WEST).ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    ami.publish()
    assert ami.copies() == {}


def test_a_copy_in_another_encryption_is_another_copy(ami: Ami) -> None:
    kms = ami.bakery.aws.at(WEST).client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    plain = ami.publish(copies=({"region": WEST},)).copies[WEST]
    made = ami.publish(copies=({"region": WEST, "encryption_key": key},)).copies[WEST]
    assert made != plain
    (snapshot,) = ami.bakery.aws.at(WEST).ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, key)
    with pytest.raises(BakeError, match="another encryption key"):
        ami.publish("prod", copies=({"region": WEST},))


def test_a_copy_in_use_is_not_deleted(ami: Ami) -> None:
    copy = ami.publish(copies=({"region": WEST},)).copies[WEST]
    ec2 = ami.bakery.aws.at(WEST).ec2
    (machine,) = ec2.run_instances(ImageId=copy, MinCount=1, MaxCount=1)["Instances"]
    with pytest.raises(BakeError, match=f"{machine['InstanceId']}"):
        ami.publish()
    assert ami.copies().keys() == {WEST}
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[machine["InstanceId"]])
    ami.publish()
    assert ami.copies() == {}


def test_snapshots_of_a_copy_that_was_deregistered_by_hand_are_found(ami: Ami) -> None:
    copy = ami.publish(copies=({"region": WEST},)).copies[WEST]
    ami.bakery.aws.at(WEST).ec2.deregister_image(ImageId=copy)
    assert ami.copies()[WEST].state == "gone"
    assert ami.observe(copies=({"region": WEST},)).drift == (f"there is no copy in {WEST}",)
    assert ami.publish(copies=({"region": WEST},)).copies[WEST] != copy
    assert len(ami.bakery.aws.at(WEST).ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1


def test_two_owners_get_all_that_either_asks_for(ami: Ami) -> None:
    ami.publish("dev", share_with=(A, B), deprecate_at="2031-01-01", copies=({"region": WEST},))
    ami.publish(
        "prod", share_with=(B, C), deprecate_at="2030-01-01", deregistration_protection=True,
        copies=({"region": WEST}, {"region": EAST}),
    )  # fmt: skip
    assert ami.accounts() == {A, B, C}
    assert ami.describe()["DeprecationTime"].startswith("2031-01-01")
    withdraw(ami.id, lineage=ami.bakery.lineage("prod"), aws=ami.bakery.aws, report=lambda _: None)
    assert ami.accounts() == {A, B}
    assert ami.describe()["DeregistrationProtection"] == "disabled"
    assert ami.copies().keys() == {WEST}
    withdraw(ami.id, lineage=ami.bakery.lineage("dev"), aws=ami.bakery.aws, report=lambda _: None)
    assert ami.held()[ami.bakery.cloud.region][0] == [(None, "disabled", [], {"team": "vision"})]
    assert ami.copies() == {}


FULL: dict[str, Any] = {
    "share_with": (A, B), "share_snapshots": True, "copies": ({"region": WEST},),
    "deprecate_at": "2031-01-01", "deregistration_protection": True,
}  # fmt: skip


def _change(action: str, **given: Any) -> Callable[[Ami], object]:
    def change(ami: Ami) -> object:
        names = {"SnapshotId": ami.snapshot()} if "snapshot" in action else {"ImageId": ami.id}
        return getattr(ami.bakery.aws.ec2, action)(**names, **given)

    return change


def _on_the_copy(action: str, **given: Any) -> Callable[[Ami], object]:
    def change(ami: Ami) -> object:
        copy = ami.copies()[WEST]
        return getattr(ami.bakery.aws.at(WEST).ec2, action)(ImageId=copy.id, **given)

    return change


BY_HAND: list[tuple[str, Callable[[Ami], object], str]] = [
    ("unshared", _change("modify_image_attribute", LaunchPermission={"Remove": [{"UserId": A}]}),
     f"it is not shared with {A}"),
    ("shared", _change("modify_image_attribute", LaunchPermission={"Add": [{"UserId": C}]}),
     f"it is shared with {C}, which nobody asked for"),
    ("public", _change("modify_image_attribute", LaunchPermission={"Add": [{"Group": "all"}]}),
     "it is shared with all, which nobody asked for"),
    ("snapshot", _change("modify_snapshot_attribute",
                         CreateVolumePermission={"Remove": [{"UserId": B}]}),
     f"is not shared with {B}"),
    ("no date", _change("disable_image_deprecation"), "deprecated from 2031-01-01T00:00Z, and is"),
    ("another date", _change("enable_image_deprecation", DeprecateAt=datetime(2030, 2, 1)),
     "is deprecated from 2030-02-01T00:00Z"),
    ("unprotected", _change("disable_image_deregistration_protection"), "it is not protected"),
    ("disabled", _change("disable_image"), "it is disabled"),
    ("copy disabled", _on_the_copy("disable_image"), f"the copy in {WEST}: it is disabled"),
    ("copy unprotected", _on_the_copy("disable_image_deregistration_protection"),
     f"the copy in {WEST}: it is not protected"),
    ("copy unshared", _on_the_copy("reset_image_attribute", Attribute="launchPermission"),
     f"the copy in {WEST}: it is not shared"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_what_was_changed_by_hand_is_seen_and_put_right(
    ami: Ami, name: str, change: Callable[[Ami], object], said: str
) -> None:
    ami.publish(**FULL)
    before = ami.held()
    change(ami)
    drift = ami.observe(**FULL).drift
    assert said in "\n".join(drift)
    ami.publish(**FULL)
    assert ami.observe(**FULL).drift == ()
    assert ami.held() == before


def _cut_at(ami: Ami, number: int, *, after: bool) -> Callable[[], None]:
    """End the process at the n-th call that changes something: before it, or after its effect."""
    seen = 0

    def cut(model: Any, **_: Any) -> None:
        nonlocal seen
        if model.name.startswith(MUTATING):
            seen += 1
            if seen == number:
                raise Cut(model.name)

    when = "after-call.ec2" if after else "before-call.ec2"
    clients = [ami.bakery.aws.at(r).ec2 for r in (ami.bakery.cloud.region, WEST, EAST)]
    for client in clients:
        client.meta.events.register(when, cut)

    def undo() -> None:
        for client in clients:
            client.meta.events.unregister(when, cut)

    return undo


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("all of it", {}, FULL),
    ("taken back", FULL, {}),
    ("changed", FULL, {"share_with": (C,), "copies": ({"region": EAST},),
                       "deprecate_at": "2032-01-01"}),
]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize(("name", "old", "new"), CHANGES, ids=[row[0] for row in CHANGES])
def test_broken_off_anywhere_it_comes_to_the_same_end(
    ami: Ami, name: str, old: dict[str, Any], new: dict[str, Any], after: bool
) -> None:
    ami.publish(**old)
    ami.calls.clear()
    ami.publish(**new)
    steps, wanted = len(ami.calls), ami.held()
    assert steps >= 5
    for number in range(1, steps + 1):
        ami.publish(**old)
        undo = _cut_at(ami, number, after=after)
        with pytest.raises(Cut):
            ami.publish(**new)
        undo()
        ami.publish(**new)
        assert ami.held() == wanted, f"broken off at call {number}"


@pytest.mark.parametrize(("name", "old", "new"), CHANGES[:2], ids=[row[0] for row in CHANGES[:2]])
def test_each_refused_call_names_its_permission_and_the_next_run_goes_on(
    ami: Ami, name: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    ami.publish(**old)
    asked: dict[str, None] = {}

    def note(model: Any, **_: Any) -> None:
        asked[model.name] = None

    clients = [ami.bakery.aws.at(r).ec2 for r in (ami.bakery.cloud.region, WEST, EAST)]
    for client in clients:
        client.meta.events.register("before-call.ec2", note)
    ami.publish(**new)
    for client in clients:
        client.meta.events.unregister("before-call.ec2", note)
    wanted = ami.held()
    assert len(asked) >= 10
    for action in asked:
        ami.publish(**old)
        ami.bakery.cloud.faults = Faults([Fault(
            service="ec2", action=action, fault="error", code="UnauthorizedOperation", status=403
        )])  # fmt: skip
        with pytest.raises(BakeError, match=f"permission ec2:{action} is missing"):
            ami.publish(**new)
        ami.bakery.cloud.faults = Faults()
        ami.publish(**new)
        assert ami.held() == wanted, f"refused at {action}"


def test_many_accounts_and_regions_fit_into_the_record(ami: Ami) -> None:
    accounts = tuple(f"{n:012d}" for n in range(40))
    ami.publish(share_with=accounts, deprecate_at="2031-01-01")
    kept = {k: v for k, v in ami.tags().items() if k.startswith("baked-ami:publication/")}
    assert len(kept) == 3
    assert read_all(kept).accounts == frozenset(accounts)
    ami.publish(share_with=(A,))
    assert sum(k.startswith("baked-ami:publication/") for k in ami.tags()) == 1


def test_an_ami_that_nobody_publishes_is_not_asked_about(ami: Ami) -> None:
    asked: list[str] = []
    events = ami.bakery.aws.ec2.meta.events
    image = Image(ami.id, "", "", tags=ami.tags())

    def note(model: Any, **_: Any) -> None:
        asked.append(model.name)

    events.register("before-call.ec2", note)
    found = observe(image, None, {}, lineage=ami.bakery.lineage(), aws=ami.bakery.aws)
    events.unregister("before-call.ec2", note)
    assert (found.copies, found.state, found.drift, asked) == ({}, {}, (), [])
