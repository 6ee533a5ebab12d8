"""A bake's AWS calls by phase, as its own call log gives them; trouble at any one of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.bake import bake
from ami_provider.recipe import AgentSettings
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite
from local_cloud.faults import Fault, Faults
from tests.ami_provider.clouds import EMPTY, NOT_OVER, Bakery, open_bakery

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef

Moment = Literal["before", "after"]

PHASES = {
    "launch a builder": "launch",
    "create the AMI": "image",
    "launch a machine from the AMI": "launch verifier",
    "boot it": "boot verifier",
    "check the AMI on a machine of its own": "verify",
}
"""The bake's stages that are phases of their own; every other one is a step on the builder."""


ALIVE: FilterTypeDef = {"Name": "instance-state-name", "Values": list(NOT_OVER)}


@dataclass(frozen=True, order=True)
class Cell:
    """One place for trouble: a call's service and action, and the phase it is made in."""

    phase: str
    service: str
    action: str

    def __str__(self) -> str:
        return f"{self.service}:{self.action} in {self.phase!r}"


class KilledError(BaseException):
    """As `kill -9` does, it passes all that cleans up after an `Exception`."""


class PhasedAws(Aws):
    """AWS for a client whose calls are logged by phase, and which dies at one of them.

    Once dead it never calls again, whatever `finally` would still do.
    """

    template: Aws | None = None
    """Whose session (and so botocore's big models) is used again."""

    def __init__(self, region: str) -> None:
        super().__init__(region)
        if PhasedAws.template is None:
            PhasedAws.template = Aws(region)
            _ = PhasedAws.template.ec2
        self._session = PhasedAws.template._session
        self._credentials = PhasedAws.template._credentials
        self.leader = self
        self.phase = "start"
        self.calls: list[Cell] = []
        self.dead = False
        self.dies: Callable[[Cell, int], bool] = lambda _cell, _number: False
        self.moment: Moment = "before"
        self._counting = threading.Lock()

    def at(self, region: str) -> PhasedAws:
        """The same client in another region: it dies as one."""
        if region == self.region:
            return self
        if region not in self._elsewhere:
            there = self._elsewhere[region] = PhasedAws(region)
            there.leader = self.leader
            there._listeners = self._listeners
        return cast(PhasedAws, self._elsewhere[region])

    def report(self, text: str) -> None:
        """What the bake says: its stages set the phase."""
        if text.startswith("step "):
            stage = text.partition(": ")[2].partition(" · ")[0]
            waits = stage.startswith("wait for ")
            self.phase = "image" if waits else PHASES.get(stage, "steps")

    def _create_client(self, service: str, region: str, retries: bool) -> Any:
        client = super()._create_client(service, region, retries)
        client.meta.events.register("before-call", self._before)
        client.meta.events.register("after-call", self._after)
        return client

    def _before(self, model: Any, context: dict[str, Any], **_: Any) -> None:
        us = self.leader
        with us._counting:
            cell = Cell(us.phase, model.service_model.service_name, model.name)
            us.calls.append(cell)
            context["deadly"] = not us.dead and us.dies(cell, len(us.calls))
            us.dead = us.dead or (context["deadly"] and us.moment == "before")
            if us.dead:
                raise KilledError

    def _after(self, context: dict[str, Any], **_: Any) -> None:
        if context.get("deadly"):
            self.leader.dead = True
            raise KilledError


class PhaseFaults(Faults):
    """A fault for one cell only: calls of that action, while that client is in that phase."""

    def __init__(self, aws: PhasedAws, cell: Cell, fault: Fault) -> None:
        super().__init__([fault])
        self._aws, self._cell = aws, cell
        self.taken = 0

    def take(self, *args: Any, **kwargs: Any) -> Fault | None:
        if self._aws.phase != self._cell.phase:
            return None
        fault = super().take(*args, **kwargs)
        self.taken += fault is not None
        return fault


@dataclass
class Outcome:
    """How one kind of trouble went, cell by cell."""

    kind: str
    cells: int = 0
    succeeded: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, record: Callable[[str, object], None]) -> None:
        """Leave a row for the table at the end of the test run."""
        row = [self.kind, self.cells, self.succeeded, self.refused, len(self.wrong)]
        record("matrix", [*row, round(self.seconds, 1)])


@contextmanager
def outcome(kind: str, record: Callable[[str, object], None]) -> Iterator[Outcome]:
    """One row of a matrix: timed, noted, and without anything wrong."""
    made = Outcome(kind)
    start = time.monotonic()
    yield made
    made.seconds = time.monotonic() - start
    made.note(record)
    assert made.cells > 0
    assert not made.wrong, "\n".join(made.wrong)


@contextmanager
def open_matrix() -> Iterator[Bakery]:
    """A recorded cloud whose waits take no time: clocks run as fast as somebody sleeps."""
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        elapsed, rest = [0.0], time.sleep

        def sleep(seconds: float) -> None:
            elapsed[0] += seconds
            rest(min(seconds, 0.005))

        patch.setattr(waiting, "sleep", sleep)
        patch.setattr(waiting, "now", lambda: elapsed[0])
        patch.setattr("botocore.endpoint.time.sleep", sleep)
        patch.setattr("botocore.retries.bucket.TokenBucket.acquire", lambda *_, **__: True)
        PhasedAws.template = None
        yield bakery
        PhasedAws.template = None


def run(bakery: Bakery, aws: PhasedAws, recipe: ResolvedRecipe, site: BuildSite) -> Any:
    """One bake by this client."""
    return bake(
        recipe, site, bakery.lineage(), aws=aws, report=aws.report, announce=bakery.said.append
    )


_numbers = itertools.count(1)


def refresh(recipe: ResolvedRecipe) -> ResolvedRecipe:
    """The same with a content of its own: machines of earlier cells, which EC2 lists for an hour,
    are none of its bake's."""
    agent = AgentSettings(extra={"ECS_CELL": str(next(_numbers))})
    return recipe.model_copy(update={"agent": agent})


def list_calls(bakery: Bakery, recipe: ResolvedRecipe) -> list[Cell]:
    """Every call of a bake without trouble, in order; nothing of it is left."""
    aws = PhasedAws(bakery.cloud.region)
    run(bakery, aws, refresh(recipe), bakery.site())
    clear(bakery)
    return aws.calls


def list_cells(bakery: Bakery, recipe: ResolvedRecipe) -> list[Cell]:
    """Each action in each phase of a bake, once, in the order of their first calls."""
    return list(dict.fromkeys(list_calls(bakery, recipe)))


def clear(bakery: Bakery) -> None:
    """Remove machines and AMIs, so that the next bake starts from nothing."""
    bakery.cloud.faults = Faults()
    ec2 = bakery.aws.ec2
    for reservation in ec2.describe_instances(Filters=[ALIVE])["Reservations"]:
        ec2.terminate_instances(InstanceIds=[m["InstanceId"] for m in reservation["Instances"]])
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    assert bakery.count() == EMPTY


def describe(calls: list[Cell]) -> str:
    """How many calls of each action there are, for a failed assertion."""
    return ", ".join(f"{name} {n}" for name, n in Counter(c.action for c in calls).items())
