"""The client dies before or after any of a bake's AWS calls; a plain second run ends well."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.resolved import ResolvedRecipe
from tests.ami_provider.clouds import EMPTY, ONE_AMI, Bakery, open_bakery

Moment = Literal["before", "after"]


class KilledError(BaseException):
    """As `kill -9` does, it passes all that cleans up after an `Exception`."""


class DyingAws(Aws):
    """AWS for a client that dies at its `number`-th call (from 1), and never calls again."""

    def __init__(self, region: str, number: int = 0, moment: Moment = "before") -> None:
        super().__init__(region)
        self.calls: list[str] = []
        self._number, self._moment = number, moment
        self._counting = threading.Lock()
        self._dead = False

    def _create_client(self, service: str, region: str, retries: bool) -> Any:
        client = super()._create_client(service, region, retries)
        client.meta.events.register("before-call", self._before)
        client.meta.events.register("after-call", self._after)
        return client

    def _before(self, model: Any, **_: Any) -> None:
        with self._counting:
            self.calls.append(model.name)
            last = len(self.calls) == self._number
            self._dead = self._dead or (last and self._moment == "before")
            if self._dead:
                raise KilledError

    def _after(self, model: Any, **_: Any) -> None:
        with self._counting:
            if self._number and self.calls[self._number - 1 :][:1] == [model.name]:
                self._dead = True
                raise KilledError


@pytest.fixture(scope="module")
def module_bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        yield bakery


@pytest.fixture
def bakery(module_bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> Bakery:
    monkeypatch.setattr(waiting, "FIRST_S", 0.01)
    return module_bakery


def clear(bakery: Bakery) -> None:
    for image in bakery.aws.ec2.describe_images(Owners=["self"])["Images"]:
        bakery.aws.ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in bakery.aws.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        bakery.aws.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    assert bakery.count() == EMPTY


def count_calls(bakery: Bakery, recipe: ResolvedRecipe) -> list[str]:
    aws = DyingAws(bakery.cloud.region)
    Bakery(bakery.cloud, aws, bakery.said).bake(recipe)
    clear(bakery)
    return aws.calls


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_any_death_a_second_run_gives_one_ami(bakery: Bakery, moment: Moment) -> None:
    recipe = bakery.resolve()
    calls = count_calls(bakery, recipe)
    assert len(calls) > 30

    wrong = []
    for number in choose(calls):
        dying = DyingAws(bakery.cloud.region, number, moment)
        died = False
        try:
            Bakery(bakery.cloud, dying, []).bake(recipe)
        except KilledError:
            died = True
        bakery.bake(recipe)
        if bakery.count() != ONE_AMI:
            wrong.append((number, dying.calls[-1], died, bakery.count()))
        clear_all(bakery)

    assert wrong == []


def choose(calls: list[str]) -> list[int]:
    """Each action's first and last call; with BAKED_AMI_LONG set, every call there is."""
    if os.environ.get("BAKED_AMI_LONG"):
        return list(range(1, len(calls) + 1))
    first = {name: number for number, name in reversed(list(enumerate(calls, 1)))}
    last = {name: number for number, name in enumerate(calls, 1)}
    return sorted({*first.values(), *last.values()})


def clear_all(bakery: Bakery) -> None:
    for reservation in bakery.aws.ec2.describe_instances()["Reservations"]:
        ids = [machine["InstanceId"] for machine in reservation["Instances"]]
        bakery.aws.ec2.terminate_instances(InstanceIds=ids)
    clear(bakery)
