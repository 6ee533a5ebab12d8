"""Bakes that fail on real machines: each tells cause and remedy, and leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ami_provider import building, tags
from ami_provider import provision as provisioning
from ami_provider.commands import run_command
from ami_provider.course import FETCH
from ami_provider.errors import BakeError
from ami_provider.fingerprint import fingerprint
from ami_provider.job import Job
from ami_provider.machines import Machine
from ami_provider.resolved import ResolvedRecipe
from local_cloud.faults import Faults
from tests.ami_provider.clouds import EMPTY, Bakery, extra, open_bakery
from tests.ami_provider.failure_cases import CASES, FAULTS, MODEL_FAULTS, recipe_of

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("failures")]

AT_ONCE = 4


@dataclass(frozen=True)
class Outcome:
    """What a bake ended with, and what AWS still had of it when it had ended."""

    error: BaseException | None
    left: list[str]


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=True) as bakery:
        provision = building.provision  # type: ignore[attr-defined]

        def provision_after_sabotage(job: Job, machine: Machine) -> dict[str, Any]:
            case = CASES.get(job.lineage.name)
            if case and case.sabotage:
                run_command(job.aws, machine.id, case.sabotage, timeout_s=600, why="sabotage")
            return provision(job, machine)

        patch.setattr(building, "provision", provision_after_sabotage)
        yield bakery


def find_what_is_left(bakery: Bakery, recipe: ResolvedRecipe) -> list[str]:
    ec2 = bakery.aws.ec2
    own = [{"Name": f"tag:{tags.FINGERPRINT}", "Values": [fingerprint(recipe.manifest())]}]
    alive = [*own, {"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}]
    machines = ec2.describe_instances(Filters=alive)["Reservations"]  # type: ignore[arg-type]
    images = ec2.describe_images(Owners=["self"], Filters=own)["Images"]  # type: ignore[arg-type]
    snapshots = ec2.describe_snapshots(Filters=own)["Snapshots"]  # type: ignore[arg-type]
    found = [m["InstanceId"] for r in machines for m in r["Instances"]]
    return found + [i["ImageId"] for i in images] + [s["SnapshotId"] for s in snapshots]


def bake_into_failure(bakery: Bakery, name: str, recipe: ResolvedRecipe) -> Outcome:
    error: BaseException | None = None
    try:
        bakery.bake(recipe, lineage=bakery.lineage(name=name))
    except Exception as raised:
        error = raised
    return Outcome(error, find_what_is_left(bakery, recipe))


@pytest.fixture(scope="module")
def outcomes(bakery: Bakery, request: pytest.FixtureRequest) -> Mapping[str, Outcome]:
    """The chosen cases' bakes, several at once on one cloud: each its own content and builder."""
    chosen = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    recipes = {name: CASES[name].recipe(bakery, name) for name in CASES if name in chosen}
    bakery.cloud.faults = Faults(FAULTS)
    bakery.cloud.models.set_faults(*MODEL_FAULTS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            name: pool.submit(bake_into_failure, bakery, name, recipe)
            for name, recipe in recipes.items()
        }
        ended = {name: future.result() for name, future in running.items()}
    bakery.cloud.faults = Faults()
    bakery.cloud.models.set_faults()
    return ended


@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_told_with_cause_and_remedy_and_leaves_nothing(
    outcomes: Mapping[str, Outcome], name: str
) -> None:
    case, outcome = CASES[name], outcomes[name]
    error = outcome.error

    assert isinstance(error, BakeError), error
    assert case.cause in error.brief, error
    assert case.evidence in error.details, error
    assert case.remedy in error.resolution, error
    assert outcome.left == []
    found = re.search(r"The whole log of every step: (\S+)", error.details)
    assert found, error
    log = Path(found[1])
    assert "\n==> " in log.read_text()
    log.unlink()


@contextmanager
def clock_that_jumps_before_the_pull(bakery: Bakery, *, again: bool) -> Iterator[None]:
    """13 hours, beyond every token's 12: once, or each time that the registry looks at it."""
    registry, jumps = bakery.cloud.registry, count(1)
    run_stage = provisioning.run_stage  # type: ignore[attr-defined]
    usual = registry.clock

    def run(job: Job, machine: Machine, stage: Any, files: Any, **more: Any) -> Any:
        if stage.key == FETCH:
            registry.clock = lambda: usual() + timedelta(hours=13 * (next(jumps) if again else 1))
        return run_stage(job, machine, stage, files, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provisioning, "run_stage", run)
        try:
            yield
        finally:
            registry.clock = usual


def test_a_token_that_expired_is_renewed_before_anyone_hears_of_it(bakery: Bakery) -> None:
    stop = extra("stop-here", "echo the images are here; exit 3")
    recipe = recipe_of(bakery, "token-renewed", extra_steps=stop)
    with clock_that_jumps_before_the_pull(bakery, again=False):
        outcome = bake_into_failure(bakery, "token-renewed", recipe)

    assert isinstance(outcome.error, BakeError)
    assert "the images are here" in outcome.error.details
    log = Path(outcome.error.details.rpartition("The whole log of every step: ")[2])
    assert "authorization token has expired" in log.read_text()
    log.unlink()
    assert outcome.left == []


def test_a_token_that_expires_at_once_each_time_is_told(bakery: Bakery) -> None:
    recipe = recipe_of(bakery, "token-expired")
    with clock_that_jumps_before_the_pull(bakery, again=True):
        outcome = bake_into_failure(bakery, "token-expired", recipe)

    assert isinstance(outcome.error, BakeError)
    assert "could not pull the images: the ECR token has expired" in outcome.error.brief
    assert "authorization token has expired" in outcome.error.details
    assert "logs in anew" in outcome.error.resolution
    Path(outcome.error.details.rpartition("The whole log of every step: ")[2]).unlink()
    assert outcome.left == []


def test_nothing_at_all_is_left(bakery: Bakery, outcomes: Mapping[str, Outcome]) -> None:
    assert all(outcome.left == [] for outcome in outcomes.values())
    assert bakery.count() == EMPTY
