"""When a bake starts from the lineage's last AMI, and what happens when that does not come off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.bake import bake
from ami_provider.basis import describe_basis, find_obstacle
from ami_provider.errors import BakeError
from ami_provider.forecasting import get_forecast
from ami_provider.image_removal import delete_image, disable_image
from ami_provider.image_state import read_image
from ami_provider.job import Start
from ami_provider.launching import launch_machine
from ami_provider.recipe import ExtraStep, RootVolume, SystemUpdate
from ami_provider.resolved import ResolvedRecipe
from ami_provider.running import read_own_scripts
from ami_provider.site import BuildSite
from local_cloud.faults import Fault, Faults, Unseen
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import ONE_AMI, Bakery, open_bakery
from tests.ami_provider.matrix import Cell, KilledError, PhasedAws, open_matrix, run
from tests.ami_provider.real_machines import create_job
from tests.ami_provider.samples import resolved
from tests.ami_provider.test_bake_flow import on_step, reply

SCRIPTS = {"20-system-update.sh": "x", "lib.sh": "y", "verify.sh": "z"}
TWO_AMIS = ONE_AMI | {"images": 2, "snapshots": 2}
GOOD = {tags.VERIFIED: tags.VERIFIED_YES}


def basis(recipe: ResolvedRecipe, scripts: dict[str, str] | None = None) -> str:
    return describe_basis(recipe.manifest(), scripts or SCRIPTS)


def change(**changes: Any) -> ResolvedRecipe:
    return resolved().model_copy(update=changes)


BASE = resolved().base
SIZED = [RootVolume(size_gib=size) for size in (20, 40)]
STEPS = (ExtraStep(name="mine", script="true"),)
DECISIONS: dict[str, tuple[ResolvedRecipe, str | None]] = {
    "nothing": (resolved(), None),
    "an image": (change(images=resolved().images[:1]), None),
    "the models": (change(models=()), None),
    "the agent's settings": (change(agent=resolved().agent.model_copy(
        update={"extra": {"ECS_X": "1"}})), None),
    "a bigger volume": (change(root_volume=SIZED[1]), None),
    "a faster volume": (change(root_volume=RootVolume(throughput=250)), None),
    "a smaller volume": (change(root_volume=SIZED[0]), "its root volume has 30 GiB"),
    "the base AMI": (change(base=BASE.model_copy(update={"ami_id": "ami-2"})), "the base AMI"),
    "the system update": (change(system_update=SystemUpdate(enabled=False)), "the system update"),
    "what it holds": (change(system_update=SystemUpdate(hold=("x",))), "the system update"),
    "an extra step": (change(extra_steps=STEPS), "the extra steps"),
    "the encryption": (change(encryption_key="alias/x"), "the encryption key"),
}  # fmt: skip
"""What changed, the recipe, and why it is baked from scratch."""


@pytest.mark.parametrize("what", DECISIONS)
def test_what_may_change_from_one_ami_to_the_next(what: str) -> None:
    recipe, reason = DECISIONS[what]
    noted = GOOD | {tags.BASIS: basis(resolved())}

    found = find_obstacle(noted, "available", basis=basis(recipe), limit=1, verify="on")

    assert (found or "").startswith(reason or "")
    assert bool(found) == bool(reason)
    assert len(noted[tags.BASIS]) <= 256, "EC2's limit for a tag"


@pytest.mark.parametrize(
    ("noted", "state", "verify", "reason"),
    [
        ({}, "available", "on", None),
        ({tags.GENERATION: "2"}, "available", "g5.xlarge", None),
        ({tags.GENERATION: "3"}, "available", "on", "3 were made since"),
        ({}, "available", "off", "verification is off"),
        ({}, "disabled", "on", "it is disabled"),
        ({tags.VERIFIED: tags.VERIFIED_OFF}, "available", "on", "it is not verified"),
        ({tags.REFUSED: "f"}, "available", "on", "a bake from it was not the same"),
    ],
)
def test_which_ami_will_do(
    noted: dict[str, str], state: str, verify: str, reason: str | None
) -> None:
    own = basis(resolved())

    found = find_obstacle(
        GOOD | {tags.BASIS: own} | noted, state, basis=own, limit=3, verify=verify
    )

    assert (found or "").startswith(reason or "")
    assert bool(found) == bool(reason)


def test_other_steps_of_the_program_and_amis_of_before_will_not_do() -> None:
    own, scripts = basis(resolved()), SCRIPTS | {"20-system-update.sh": "other"}

    def ask(noted: dict[str, str], new: str) -> str:
        found = find_obstacle(GOOD | noted, "available", basis=new, limit=3, verify="on")
        return found or ""

    assert "other steps" in ask({tags.BASIS: own}, basis(resolved(), scripts))
    assert ask({tags.BASIS: own}, basis(resolved(), SCRIPTS | {"verify.sh": "other"})) == ""
    assert "a version that could not do this" in ask({}, own)
    assert {"35-remove-former.sh", "lib.sh"} <= read_own_scripts().keys()


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


def recipe(bakery: Bakery, number: int) -> ResolvedRecipe:
    """The same but for the agent's settings."""
    agent = {"extra": {"ECS_NUMBER": str(number)}}
    return bakery.resolve(agent=resolved().agent.model_copy(update=agent))


def get_tags(bakery: Bakery, ami_id: str) -> dict[str, str]:
    image = bakery.aws.ec2.describe_images(ImageIds=[ami_id])["Images"][0]
    return tags.to_mapping(image["Tags"])


def get_starts(bakery: Bakery) -> list[str]:
    """What each builder was booted from."""
    return [request["ImageId"] for request in bakery.launches if get_role(request) == "builder"]


def get_role(request: dict[str, Any]) -> str:
    return tags.to_mapping(request["TagSpecifications"][0]["Tags"])[tags.ROLE]


def list_steps(bakery: Bakery) -> list[str]:
    machines = bakery.cloud.machines
    assert isinstance(machines, RecordedMachines)
    lines = [line for _, script in machines.scripts for line in script.lines]
    return [line for line in lines if "run.sh 35-remove-former" in line]


def foresee(bakery: Bakery, recipe: ResolvedRecipe, site: BuildSite) -> str:
    """The second line of what a preview says of a bake: where it starts from, if that is asked."""
    told = get_forecast(recipe, None, site, bakery.lineage(), bakery.aws)
    return told.to_lines()[1]


def test_bakes_start_from_the_last_ami_until_so_many_were_made(bakery: Bakery) -> None:
    site, base = bakery.site(incremental=2), bakery.resolve().base.ami_id
    foreseen, ids = [], []
    for number in range(4):
        foreseen.append(foresee(bakery, recipe(bakery, number), site))
        ids.append(bakery.bake(recipe(bakery, number), site).ami_id)

    assert get_starts(bakery) == [base, ids[0], ids[1], base]
    noted = [get_tags(bakery, image_id) for image_id in ids]
    assert [n.get(tags.FROM) for n in noted] == [None, ids[0], ids[1], None]
    assert [n.get(tags.GENERATION) for n in noted] == [None, "1", "2", None]
    assert all(n[tags.VERIFIED] == tags.VERIFIED_YES for n in noted)
    assert len(list_steps(bakery)) == 2
    told = [line for line in bakery.said if "full bake" in line or "incremental" in line]
    assert told == [
        "a full bake: there is no earlier AMI in ap-northeast-2 to start from",
        f"an incremental bake, number 1 in a row: from {ids[0]}",
        f"an incremental bake, number 2 in a row: from {ids[1]}",
        f"a full bake, not one from {ids[2]}: 2 were made since the last full bake",
    ]
    pulls = "and pulls only what is missing there; the forecast below counts all of it."
    assert foreseen == [
        f"{told[0]}.",
        f"an incremental bake, number 1 in a row: it starts from {ids[0]} {pulls}",
        f"an incremental bake, number 2 in a row: it starts from {ids[1]} {pulls}",
        f"{told[3]}.",
    ]
    assert bakery.count() == {"machines": 0, "volumes": 0, "images": 4, "snapshots": 4}


def test_it_has_to_be_asked_for(bakery: Bakery) -> None:
    bakery.bake(recipe(bakery, 1))
    bakery.bake(recipe(bakery, 2))
    bakery.bake(recipe(bakery, 3), bakery.site(incremental=9), bakery.lineage("another"))

    assert foresee(bakery, recipe(bakery, 4), bakery.site()).startswith("it takes about")
    assert set(get_starts(bakery)) == {bakery.resolve().base.ami_id}
    assert [line for line in bakery.said if "full bake" in line] == [
        "a full bake: there is no earlier AMI in ap-northeast-2 to start from"
    ]


def test_an_ami_that_is_not_to_be_had_is_not_started_from(bakery: Bakery) -> None:
    site, base = bakery.site(incremental=9), bakery.resolve().base.ami_id
    first = bakery.bake(recipe(bakery, 1), site)
    disable_image(bakery.aws, first.ami_id)
    second = bakery.bake(recipe(bakery, 2), site)
    vanished = Fault(
        fault="error", action="RunInstances", code="InvalidAMIID.Unavailable", status=400,
        when={"ImageId": second.ami_id},
    )  # fmt: skip
    bakery.cloud.faults = Faults([vanished])
    third = bakery.bake(recipe(bakery, 3), site)

    assert get_starts(bakery) == [base, base, second.ami_id, base]
    assert tags.FROM not in get_tags(bakery, third.ami_id)
    assert f"a full bake, not one from {first.ami_id}: it is disabled" in bakery.said
    assert f"a full bake: {second.ami_id} is gone" in bakery.said


def test_a_preview_that_may_not_look_for_a_start_says_so_and_goes_on(bakery: Bakery) -> None:
    denied = Fault(fault="error", action="DescribeImages", code="UnauthorizedOperation", status=403)
    changed = recipe(bakery, 1)
    bakery.cloud.faults = Faults([denied])

    told = foresee(bakery, changed, bakery.site(incremental=2))

    assert told.startswith("whether it starts from an earlier AMI is not known: ")


LEFT = "not right (former-left): an image\nbaked-ami-failure: former-left: 1 checks\n"
FULL = "baked-ami-failure: disk-full: pulling x: 9 bytes are free\n"


def fail_once(bakery: Bakery, step: str, log: str) -> None:
    logs = [log]
    on_step(bakery, step, lambda _: reply(fails=True, log=logs.pop()) if logs else None)


@pytest.mark.parametrize("on_failure", ["cleanup", "keep"])
@pytest.mark.parametrize(
    ("step", "log"), [("verify", LEFT), ("35-remove-former", LEFT), ("40-pull-images", FULL)]
)
def test_one_that_does_not_come_off_is_baked_from_scratch(
    bakery: Bakery, step: str, log: str, on_failure: str
) -> None:
    site, base = bakery.site(incremental=9, on_failure=on_failure), bakery.resolve().base.ami_id
    first = bakery.bake(recipe(bakery, 1), site)
    fail_once(bakery, step, log)

    second = bakery.bake(recipe(bakery, 2), site)

    assert get_starts(bakery) == [base, first.ami_id, base]
    assert tags.FROM not in get_tags(bakery, second.ami_id)
    assert get_tags(bakery, first.ami_id)[tags.REFUSED] == second.fingerprint[:16]
    (told,) = [line for line in bakery.said if "is given up" in line]
    assert told.startswith(f"the bake from {first.ami_id} is given up (")
    assert told.endswith("): a full one follows")
    assert ("not right (former-left): an image" in told) == (log == LEFT)
    assert bakery.count() == TWO_AMIS


def test_what_a_full_bake_would_meet_too_is_an_error(bakery: Bakery) -> None:
    site = bakery.site(incremental=9)
    first = bakery.bake(recipe(bakery, 1), site)
    fail_once(bakery, "40-pull-images", "baked-ami-failure: ecr-denied: no\n")

    with pytest.raises(BakeError, match="ECR refuses the builder"):
        bakery.bake(recipe(bakery, 2), site)

    assert len(get_starts(bakery)) == 2
    assert tags.REFUSED not in get_tags(bakery, first.ami_id)
    assert bakery.count() == ONE_AMI


def test_one_begun_with_verification_is_not_given_out_without(bakery: Bakery) -> None:
    """Killed with its AMI made; whoever goes on has switched verification off."""
    site = bakery.site(incremental=9)
    bakery.bake(recipe(bakery, 1), site)
    dying = PhasedAws(bakery.cloud.region)
    dying.dies = lambda cell, _: cell.phase == "launch verifier"
    with pytest.raises(KilledError):
        run(bakery, dying, recipe(bakery, 2), site)

    second = bakery.bake(recipe(bakery, 2), bakery.site(verify="off"))

    assert get_tags(bakery, second.ami_id)[tags.VERIFIED] == tags.VERIFIED_YES


def test_after_any_death_another_run_goes_on_from_the_same_ami() -> None:
    """Also one that would start from the base AMI: what the builder was booted from decides."""
    with open_matrix() as bakery:
        site, other = bakery.site(incremental=9), bakery.site()
        first = bakery.bake(recipe(bakery, 1), site)
        watched = PhasedAws(bakery.cloud.region)
        run(bakery, watched, recipe(bakery, 2), site)
        deaths = list(dict.fromkeys(watched.calls))
        assert len(deaths) > 25
        drop(bakery, first.ami_id)
        for cell in deaths:
            dying = PhasedAws(bakery.cloud.region)
            dying.moment, dying.dies = "after", dies_at(cell)
            with pytest.raises(KilledError):
                run(bakery, dying, recipe(bakery, 2), site)
            began = any(tags.FROM in m for m in list_noted(bakery))
            run(bakery, PhasedAws(bakery.cloud.region), recipe(bakery, 2), other)
            (made,) = [
                n for n in list_noted(bakery, "images") if n[tags.FINGERPRINT] != first.fingerprint
            ]
            assert (made.get(tags.FROM) == first.ami_id) == began, cell
            assert bakery.count() == TWO_AMIS, cell
            drop(bakery, first.ami_id)


def dies_at(cell: Cell) -> Callable[[Cell, int], bool]:
    return lambda now, _number: now == cell


def list_noted(bakery: Bakery, *kinds: str) -> list[dict[str, str]]:
    """The tags of every AMI that there is, and of every machine that is up."""
    ec2 = bakery.aws.ec2
    found = [image.get("Tags") for image in ec2.describe_images(Owners=["self"])["Images"]]
    if "images" not in kinds:
        up = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        listed = ec2.describe_instances(Filters=up)["Reservations"]  # type: ignore[arg-type]
        found += [machine.get("Tags") for r in listed for machine in r["Instances"]]
    return [tags.to_mapping(given) for given in found]


def drop(bakery: Bakery, but: str) -> None:
    """Delete every AMI but one, by hand."""
    for image in bakery.aws.ec2.describe_images(Owners=["self"])["Images"]:
        if image["ImageId"] != but:
            delete_image(bakery.aws, read_image(image))


def test_the_second_of_two_clients_follows_the_first_ones_choice(bakery: Bakery) -> None:
    """Neither sees the other's machine when it launches; one would take the base AMI."""
    first = bakery.bake(recipe(bakery, 1))
    job = create_job(bakery, recipe(bakery, 2))
    start = Start(ami_id=first.ami_id, generation=1)
    types = job.site.instance_types
    bakery.cloud.faults = Faults([Unseen(fault="unseen", of="instance", looks=3, times=1)])
    one = launch_machine(
        replace(job, start=start), "builder", image_id=first.ami_id, types=types, minutes=9
    )
    assert one.start == start

    other = launch_machine(job, "builder", image_id=job.recipe.base.ami_id, types=types, minutes=9)

    assert (other.id, other.start) == (one.id, start)
    assert bakery.count()["machines"] == 1
    scratch = replace(job, refused=[first.ami_id])
    own = launch_machine(
        scratch, "builder", image_id=job.recipe.base.ami_id, types=types, minutes=9
    )
    assert (own.id != one.id, own.start) == (True, None)


def test_two_clients_at_once_make_one_ami(bakery: Bakery) -> None:
    base = bakery.bake(recipe(bakery, 1))
    sites = [bakery.site(incremental=9), bakery.site()]
    made: list[str] = []

    def act(site: BuildSite) -> None:
        aws = Aws(bakery.cloud.region)
        made.append(
            bake(recipe(bakery, 2), site, bakery.lineage(), aws=aws, report=lambda _: None).ami_id
        )

    threads = [threading.Thread(target=act, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 2
    assert len(set(made)) == 1
    assert base.ami_id not in made
    assert bakery.count() == TWO_AMIS
