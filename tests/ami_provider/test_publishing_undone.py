"""A new AMI that cannot be published goes again, with its copies in every region."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from ami_provider import life, updating
from ami_provider.checking import check_inputs
from ami_provider.errors import BakeError
from local_cloud.faults import Fault, Faults
from local_cloud.machines.contract import Outcome, Script
from tests.ami_provider.clouds import EMPTY, GROUP, PROFILE, SUBNETS, Bakery
from tests.ami_provider.matrix import KilledError, clear, open_matrix, outcome

Record = Callable[[str, object], None]
WEST, EAST = "us-west-2", "us-east-1"
PUBLICATION = {
    "share_with": ["111111111111"], "share_snapshots": True, "deprecate_after_days": 30,
    "deregistration_protection": True, "copies": [{"region": WEST}],
}  # fmt: skip
LEFT = "is left: the next `pulumi up` takes it"
_numbers = count(1)


@dataclass
class Publisher:
    """Creates AMIs that are published. `faults` are on from the moment a new AMI is there."""

    bakery: Bakery
    faults: Faults
    before: int = 0

    def create(self, publication: dict[str, Any] = PUBLICATION, **site: Any) -> dict[str, Any]:
        """An AMI of a content that there was not yet."""
        inputs = check_inputs({}, self.inputs(publication, **site), aws=lambda _: self.bakery.aws)
        return self.again(inputs.inputs)

    def again(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.last = inputs
        try:
            return life.create_ami(inputs)
        finally:
            self.bakery.cloud.faults = Faults()

    def inputs(self, publication: dict[str, Any], **site: Any) -> dict[str, Any]:
        cloud = self.bakery.cloud
        registry = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com"
        return {
            "recipe": {
                "images": [{"repository": f"{registry}/batch-processor", "tag": "latest"}],
                "agent": {"extra": {"ECS_NUMBER": str(next(_numbers))}},
            },
            "site": {
                "region": cloud.region,
                "subnet_ids": list(SUBNETS),
                "security_group_ids": [GROUP],
                "instance_profile": PROFILE,
                "verify": "off",
                **site,
            },
            "lineage": {"project": "p", "stack": "s", "name": "gpu", "urn": "urn:pulumi:s::gpu"},
            "publication": publication,
        }

    def count(self) -> list[dict[str, int]]:
        """What there is at home, and of AMIs and snapshots in the other regions."""
        there = [self.bakery.aws.at(region).ec2 for region in (WEST, EAST)]
        return [
            self.bakery.count(),
            *(
                EMPTY
                | {
                    "images": len(ec2.describe_images(Owners=["self"])["Images"]),
                    "snapshots": len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]),
                }
                for ec2 in there
            ),
        ]

    def delete(self, outs: dict[str, Any]) -> None:
        life.delete_owned(outs["ami_id"], outs)


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    with open_matrix() as bakery, publishing_with(bakery) as made:
        yield made


@contextmanager
def publishing_with(bakery: Bakery) -> Iterator[Publisher]:
    made, publish_asked = Publisher(bakery, Faults()), updating.publish_asked

    def publish(*args: Any) -> Any:
        made.before = len(bakery.cloud.calls.read())
        bakery.cloud.faults = made.faults
        return publish_asked(*args)

    with pytest.MonkeyPatch.context() as patch:
        for module in (life, updating):
            patch.setattr(module, "get_aws", lambda _region: bakery.aws)
        patch.setattr(life, "publish_asked", publish)
        yield made


@pytest.fixture(autouse=True)
def nothing_left(publisher: Publisher) -> Iterator[None]:
    yield
    clear(publisher.bakery)
    assert publisher.count() == [EMPTY] * 3


def list_cells(publisher: Publisher) -> list[tuple[str, str]]:
    """Region and action of each call of a publication."""
    publisher.faults = Faults()
    outs = publisher.create()
    calls = publisher.bakery.cloud.calls.read()[publisher.before :]
    publisher.delete(outs)
    return list(dict.fromkeys((call["region"], call["action"]) for call in calls))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("publication: throttled for ever", {"fault": "throttle"}),
        ("publication: answers dropped", {"fault": "drop-after", "times": 1}),
    ],
)
def test_a_fault_at_each_action_of_a_publication(
    publisher: Publisher, name: str, fault: dict[str, Any], record_property: Record
) -> None:
    """Either it is survived, or nothing is left, or what is left is told and the next run's."""
    cells = list_cells(publisher)
    assert {region for region, _ in cells} == {publisher.bakery.cloud.region, WEST}
    with outcome(name, record_property) as went:
        for region, action in cells:
            publisher.faults = Faults([Fault(action=action, when={"region": region}, **fault)])
            went.cells += 1
            told = ""
            try:
                publisher.delete(publisher.create())
                went.succeeded += 1
            except BakeError as error:
                told = str(error)
                went.refused += 1
                if action not in told or "times" in fault:
                    went.wrong.append(f"{action} in {region}: {told}")
            publisher.faults = Faults()
            if LEFT in told:
                publisher.delete(publisher.again(publisher.last))
            if (held := publisher.count()) != [EMPTY] * 3:
                went.wrong.append(f"{action} in {region}: {held} after {told}")


def test_a_refused_copy_takes_all_with_it_though_removals_are_throttled(
    publisher: Publisher,
) -> None:
    refused = Fault(action="CopyImage", fault="error", code="UnauthorizedOperation", status=403,
                    when={"region": WEST})  # fmt: skip
    busy = [
        Fault(action=action, fault="throttle", times=12)
        for action in ("DeregisterImage", "DisableImageDeregistrationProtection")
    ]
    publisher.faults = Faults([refused, *busy])

    with pytest.raises(BakeError, match=f"could not copy ami-.* to {WEST}") as raised:
        publisher.create(PUBLICATION | {"copies": [{"region": EAST}, {"region": WEST}]})

    assert "and its copies were removed again" in raised.value.details
    assert publisher.count() == [EMPTY] * 3


def test_on_failure_keep_leaves_it_to_the_next_run(publisher: Publisher) -> None:
    publisher.faults = Faults([Fault(action="CopyImage", fault="error", status=400)])

    with pytest.raises(BakeError, match="could not copy"):
        publisher.create(on_failure="keep")

    assert publisher.count()[0]["images"] == 1
    publisher.faults = Faults()
    outs = publisher.again(publisher.last)
    assert [held["images"] for held in publisher.count()] == [1, 1, 0]
    publisher.delete(outs)


def test_copies_are_on_their_way_while_the_ami_is_checked(publisher: Publisher) -> None:
    before = len(publisher.bakery.cloud.calls.read())
    outs = publisher.create(verify="on")
    made = [call["action"] for call in publisher.bakery.cloud.calls.read()[before:]]

    launches = [at for at, action in enumerate(made) if action == "RunInstances"]
    assert launches[0] < made.index("CopyImage") < launches[1]  # The verifier's is the second.
    assert made.index("ModifyImageAttribute") > launches[1]  # Nobody else gets it unchecked.
    assert made.count("CopyImage") == 1
    publisher.delete(outs)


def test_an_ami_that_is_refused_takes_its_copies_with_it(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher.bakery.cloud.machines, "answer", _refuse)

    with pytest.raises(BakeError, match="is refused"):
        publisher.create(verify="on")

    assert publisher.count() == [EMPTY] * 3


@pytest.mark.parametrize("same", [True, False], ids=["the same content", "other content"])
def test_after_a_kill_while_it_is_checked_the_next_run_takes_the_copy_or_removes_it(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("ami_provider.bake.verify", die)
        with pytest.raises(KilledError):
            publisher.create(verify="on")
    assert [held["images"] for held in publisher.count()] == [1, 1, 0]

    outs = publisher.again(publisher.last) if same else publisher.create(verify="on")

    assert [held["images"] for held in publisher.count()] == [1, 1, 0]
    assert [held["snapshots"] for held in publisher.count()] == [1, 1, 0]
    publisher.delete(outs)


def _refuse(_machine: str, script: Script) -> Outcome:
    """Every script succeeds but the check."""
    now = datetime.now(UTC)
    fails = "run.sh verify" in "\n".join(script.lines)
    return Outcome(
        status="Failed" if fails else "Success", exit_code=70 if fails else 0, stdout=b"",
        stderr=b"", started=now, ended=now,
    )  # fmt: skip


def test_what_nobody_asks_for_any_more_is_taken_back_by_the_create_that_takes_the_ami(
    publisher: Publisher,
) -> None:
    """As after a run that was killed in its publication, or back to an AMI that was kept."""
    publisher.faults = Faults()
    outs = publisher.create()
    assert publisher.count()[1]["images"] == 1
    inputs = {key: value for key, value in publisher.last.items() if key != "publication"}

    again = publisher.again(inputs)

    assert (again["ami_id"], again["copies"]) == (outs["ami_id"], {})
    assert [held["images"] for held in publisher.count()] == [1, 0, 0]
    publisher.delete(again)
