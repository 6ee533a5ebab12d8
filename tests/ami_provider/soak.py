"""A stack's life at random: sequences of what people and AWS do to it, the same for a seed.

The provider is asked as the engine asks it (check, diff, create, delete; an old resource stays "to
be deleted" until that has succeeded), on a recorded cloud. After every sequence the state, AWS and
the outputs agree, and nothing else is left.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from ami_provider import life, provider, tags, updating
from ami_provider.provider import BakedAmiProvider
from ami_provider.sweeping import find_leftovers, remove_leftover
from local_cloud.faults import Fault, Faults
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import EMPTY, GROUP, SUBNETS, Bakery
from tests.ami_provider.matrix import KilledError, PhasedAws, clear

OPERATIONS = ("up", "kill", "kill", "fault", "fault", "change", "change", "rollback", "destroy",
              "interrupt")  # fmt: skip
ACTIONS = (
    "DescribeImages", "DescribeInstances", "RunInstances", "CreateTags", "CreateImage",
    "TerminateInstances", "DeregisterImage", "DeleteSnapshot", "DisableImage", "DeleteTags",
    "DescribeInstanceInformation", "SendCommand", "GetCommandInvocation", "CopyImage",
    "DescribeImageAttribute", "ModifyImageAttribute",
)  # fmt: skip
FAULTS: tuple[dict[str, Any], ...] = (
    {"fault": "throttle", "times": 3},
    {"fault": "throttle"},
    {"fault": "error", "times": 2},
    {"fault": "error"},
    {"fault": "drop-before", "times": 1},
    {"fault": "drop-after", "times": 1},
    {"fault": "expired-credentials"},
)


WEST = "us-west-2"
PUBLICATION = {"share_with": ["111111111111"], "copies": [{"region": WEST}]}

_NEVER = threading.Event()


@dataclass
class State:
    """What the engine's state file has of one resource."""

    id: str
    outs: dict[str, Any]


@dataclass
class Stack:
    """One stack of one resource, as the engine keeps it. A failure leaves it as the engine does."""

    bakery: Bakery
    content: int = 0
    published: bool = False
    current: State | None = None
    to_delete: list[State] = field(default_factory=list)
    unknown: bool = False
    """Whether a create may have claimed an AMI that no state got to know. The next delete of an AMI
    of this resource takes it along, be it replaced or destroyed."""

    def inputs(self) -> dict[str, Any]:
        registry = f"{self.bakery.cloud.account}.dkr.ecr.{self.bakery.cloud.region}.amazonaws.com"
        return {
            "recipe": {
                "images": [{"repository": f"{registry}/batch-processor", "tag": "latest"}],
                "extra_steps": [{"name": "content", "script": f"echo {self.content}"}],
            },
            "site": {
                "region": self.bakery.cloud.region,
                "subnet_ids": list(SUBNETS),
                "security_group_ids": [GROUP],
                "instance_profile": "builder",
            },
            "tags": {},
            "lineage": {"project": "p", "stack": "s", "name": "soak", "urn": "urn:pulumi:s::x"},
            **({"publication": PUBLICATION} if self.published else {}),
        }

    def up(self) -> None:
        asked = BakedAmiProvider()
        olds = self.current.outs if self.current else {}
        checked = asked.check(olds, self.inputs())
        assert not checked.failures, [failure.reason for failure in checked.failures]
        news = checked.inputs
        if self.current is None:
            made = asked.create(news)
            self.current = State(str(made.id), dict(made.outs or {}))
        else:
            change = asked.diff(self.current.id, olds, news)
            if change.replaces:
                made = asked.create(news)
                self.to_delete.append(self.current)
                self.current = State(str(made.id), dict(made.outs or {}))
            elif change.changes:
                outs = asked.update(self.current.id, olds, news).outs
                self.current.outs = dict(outs or {})
        self._delete_old()

    def destroy(self) -> None:
        if self.current:
            self.to_delete.append(self.current)
            self.current = None
        self._delete_old()

    def _delete_old(self) -> None:
        while self.to_delete:
            old = self.to_delete[0]
            BakedAmiProvider().delete(old.id, old.outs)
            self.to_delete.pop(0)
            self.unknown = False


@dataclass
class Soak:
    """One sequence. `done` tells what happened, for whoever has to repeat it."""

    bakery: Bakery
    seed: int
    patch: pytest.MonkeyPatch
    done: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Three to seven operations, then a plain `up` and a `destroy`; raises what is wrong."""
        chance = random.Random(self.seed)
        stack = Stack(self.bakery)
        try:
            for _ in range(chance.randint(3, 7)):
                self._operate(chance, stack)
            self._do("up at last", stack, stack.up, PhasedAws(self.bakery.cloud.region))
            self._assert_agrees(stack)
            last = PhasedAws(self.bakery.cloud.region)
            self._do("destroy at last", stack, stack.destroy, last)
            assert self.bakery.count() == EMPTY
        except BaseException as error:
            told = "\n  ".join(self.done)
            error.add_note(f"seed {self.seed}:\n  {told}")
            raise
        finally:
            self._machines.answer = None
            self._clear()

    def _clear(self) -> None:
        west = self.bakery.aws.at(WEST).ec2
        for image in west.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
            west.deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
        clear(self.bakery)

    @property
    def _machines(self) -> RecordedMachines:
        found = self.bakery.cloud.machines
        assert isinstance(found, RecordedMachines)
        return found

    def _operate(self, chance: random.Random, stack: Stack) -> None:
        aws = PhasedAws(self.bakery.cloud.region)
        name = chance.choice(OPERATIONS)
        if name in ("change", "kill", "fault", "interrupt") and chance.random() < 0.7:
            stack.content = chance.randint(0, 3)
        if name in ("change", "kill", "fault") and chance.random() < 0.3:
            stack.published = not stack.published
        if name == "rollback":
            stack.content = max(0, stack.content - 1)
        act = stack.destroy if name == "destroy" or chance.random() < 0.1 else stack.up
        text = f"{name}: {act.__name__} with content {stack.content}"
        text += ", published" if stack.published else ""
        if name == "kill":
            at = chance.randint(1, 70)
            aws.moment = chance.choice(("before", "after"))
            aws.dies = lambda _cell, number: number == at
            text += f", killed {aws.moment} call {at}"
        elif name == "fault":
            fault = Fault(**chance.choice(FAULTS), action=chance.choice(ACTIONS),
                          after=chance.choice((0, 0, 1, 2, 5)))  # fmt: skip
            self.bakery.cloud.faults = Faults([fault])
            text += f", {fault.model_dump(exclude_defaults=True)}"
        elif name == "interrupt":
            self._interrupt(chance.randint(1, 20))
        if self._do(text, stack, act, aws):
            self._assert_agrees(stack)

    def _interrupt(self, at: int) -> None:
        """Spot takes a machine away at its n-th command from now."""
        sent = len(self._machines.scripts)

        def answer(machine: str, script: Any) -> Any:
            self._machines.answer = None
            outcome = self._machines.run(machine, script, _NEVER)
            if len(self._machines.scripts) - sent >= at:
                self._machines.power_off_from_inside(machine)
            else:
                self._machines.answer = answer
            return outcome

        self._machines.answer = answer

    def _do(self, text: str, stack: Stack, act: Any, aws: PhasedAws) -> bool:
        """One command of a person's; whether it went well. Its client is new, as a process is."""
        for module in (life, updating):
            self.patch.setattr(module, "get_aws", lambda _region: aws)
        self.patch.setattr(provider, "_wanted", set())
        try:
            act()
            outcome = "went well"
        except KilledError:
            outcome = "killed"
        except Exception as error:
            outcome = f"failed: {str(error).splitlines()[0]}"
            if not self.bakery.cloud.faults.shown():
                self.done.append(f"{text}: {outcome}")
                raise
        self.bakery.cloud.faults = Faults()
        self._machines.answer = None
        self.done.append(f"{text}: {outcome}")
        assert "a defect in the provider" not in outcome
        stack.unknown = stack.unknown or outcome != "went well"
        return outcome == "went well"

    def _assert_agrees(self, stack: Stack) -> None:
        """State, AWS and outputs agree, and nothing is there but what the state has.

        A machine may still be there that AWS refused to end: it ends by itself. An AMI that a
        killed bake made and nobody owns is the sweeper's.
        """
        assert not stack.to_delete
        for machine in list(self._machines.specs):
            self._machines.power_off_from_inside(machine)
        for aws in (self.bakery.aws, self.bakery.aws.at(WEST)):
            for one in find_leftovers(aws, timedelta(0)):  # Time passes: the sweeper too.
                remove_leftover(aws, one)
        images = self.bakery.aws.ec2.describe_images(Owners=["self"])["Images"]
        known = [stack.current.id] if stack.current else []
        there = {i["ImageId"]: tags.to_mapping(i["Tags"]) for i in images}
        extra = there.keys() - known
        assert not extra or stack.unknown, f"{there} instead of {known}"
        assert all(tags.find_owners(there[image]) for image in extra), f"{there} beside {known}"
        self._assert_copies_agree(stack, extra)
        held = self.bakery.count()
        many = len(known) + len(extra)
        wanted = {"machines": 0, "volumes": 0, "images": many, "snapshots": many}
        assert held == wanted, f"{held} instead of {wanted}"
        for image in (image for image in images if image["ImageId"] not in extra):
            assert stack.current is not None
            noted = tags.to_mapping(image["Tags"])
            outs = stack.current.outs
            assert image["State"] == "available"
            assert noted[tags.FINGERPRINT] == outs["fingerprint"]
            assert noted[tags.VERIFIED] == tags.VERIFIED_YES
            assert list(tags.find_owners(noted).values()) == [outs["owner_nonce"]]
            assert outs["ami_id"] == image["ImageId"]
            assert [d["Ebs"]["SnapshotId"] for d in image["BlockDeviceMappings"]] == (
                outs["snapshot_ids"]
            )

    def _assert_copies_agree(self, stack: Stack, extra: Set[str]) -> None:
        """The other region has the copies that the state has, each with its one snapshot.

        `extra` are AMIs that no state knows, which may have theirs.
        """
        west = self.bakery.aws.at(WEST).ec2
        copies = west.describe_images(Owners=["self"])["Images"]
        sources = {i["ImageId"]: tags.to_mapping(i["Tags"])[tags.SOURCE] for i in copies}
        home = self.bakery.cloud.region
        known = {i for i, of in sources.items() if of.removeprefix(f"{home}/") not in extra}
        outs = stack.current.outs if stack.current else {}
        assert known == set(outs.get("copies", {}).values()), f"{sources} in {WEST}"
        assert bool(known) == bool(stack.current and outs.get("publication"))
        behind = {d["Ebs"]["SnapshotId"] for i in copies for d in i["BlockDeviceMappings"]}
        held = west.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert {snapshot["SnapshotId"] for snapshot in held} == behind
