"""Forecasts: adopted or baked, how long, at what cost; against bakes on a clock that tests move."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ami_provider import stages, tags, timings, waiting
from ami_provider.bake import BakedImage
from ami_provider.checking import check_inputs
from ami_provider.costs import BreakEven, find_on_demand
from ami_provider.course import Sizes, expect, get_sizes, list_stages
from ami_provider.forecast import Forecast, forecast_bake
from ami_provider.forecasting import get_forecast
from ami_provider.recipe import AgentSettings, SystemUpdate
from ami_provider.resolved import ResolvedRecipe
from ami_provider.timings import Timings
from local_cloud.clock import ManualClock
from local_cloud.cloud import Cloud
from local_cloud.faults import Fault, Faults
from local_cloud.latency import Profile, profile_of, read_profile
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.account import Account
from tests.ami_provider.clouds import Bakery, extra, open_bakery
from tests.waiting import until

GB = 10**9
TOLERANCE = 0.25
STEPS = {
    "10-quiet": 1.0, "20-system": 75.0, "30-registry": 2.0, "36-agent": 1.0, "60-": 20.0,
    "70-gpu": 4.0, "80-manifest": 1.0, "90-cleanup": 12.0, "95-quiesce": 8.0,
}  # fmt: skip
"""Seconds that a machine takes for steps of which no latency profile says anything."""


class QuietClock(ManualClock):
    """Knows who waits for it: once all do, the cloud has done all that was due."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[threading.Thread, float] = {}

    def wait_until(self, moment: float, given_up: threading.Event) -> bool:
        me = threading.current_thread()
        self._waiting[me] = moment
        try:
            return super().wait_until(moment, given_up)
        finally:
            del self._waiting[me]

    def is_quiet(self, cloud: Cloud) -> bool:
        """Whether each of the cloud's threads waits for a time that is still to come."""
        at_work = {one for one in cloud._threads if one.name != "batch scheduler"}
        return all(self._waiting.get(one, 0.0) > self.now() for one in at_work)


class Workshop:
    """A bakery by a clock of its own, whose machines take the time that a profile gives them."""

    def __init__(self, bakery: Bakery, clock: ManualClock) -> None:
        self.bakery, self.clock = bakery, clock
        self.slowness = 1.0
        self.steps = dict(STEPS)
        self.recipe = bakery.resolve()
        assert isinstance(bakery.cloud.machines, RecordedMachines)
        bakery.cloud.machines.answer = self._work

    def make(
        self, name: str, *, image_gb: float, models_gb: float, **changes: Any
    ) -> ResolvedRecipe:
        """A recipe with content of this size; image_gb is unpacked."""
        resolved = self.bakery.resolve(agent=AgentSettings(extra={"ECS_NAME": name}), **changes)
        layers = (int(image_gb * GB / 4),) * 2  # Half of it, packed.
        images = tuple(i.model_copy(update={"layer_bytes": layers}) for i in resolved.images)
        models = resolved.models[:1] if models_gb else ()
        models = tuple(m.model_copy(update={"size_bytes": int(models_gb * GB)}) for m in models)
        return resolved.model_copy(update={"images": images, "models": models})

    def bake(self, recipe: ResolvedRecipe, **site: Any) -> tuple[BakedImage, float]:
        """A whole bake, and the seconds it took by the cloud's clock."""
        self.recipe, self.site = recipe, self.bakery.site(**site)
        self.bakery.cloud.latency.use(self.profile())
        start = self.clock.now()
        baked = self.bakery.bake(recipe, self.site)
        return baked, self.clock.now() - start

    def profile(self) -> Profile:
        """`aws`, with an image's time by what is in it, and the speed at which pulls are unpacked.

        The launch's own seconds lie in `pending`: nobody moves the clock while RunInstances waits.
        """
        figures = read_profile("aws").model_dump(exclude={"sources", "about"})
        content = get_sizes(self.recipe, self.site).content
        pending = [each + figures["launch"] for each in figures["instance_pending"]]
        return profile_of(
            figures
            | {"launch": 0, "instance_pending": pending}
            | {"image_pending": figures["image_pending"] + content / 150e6 * self.slowness}
            | {"link": {"machine_mb_per_s": 60 / self.slowness}}
        )

    def _work(self, _machine: str, script: Script) -> Outcome:
        started = datetime.now(UTC)
        text = "\n".join(script.lines)
        steps = re.findall(r"run\.sh (\S+)", text)
        due = self.clock.now() + sum(self._lasts(step) for step in steps)
        self.clock.wait_until(due, self.bakery.cloud.stopping)
        return Outcome(
            status="Success", exit_code=0, stdout=b"", stderr=b"", started=started,
            ended=datetime.now(UTC),
        )  # fmt: skip

    def _lasts(self, step: str) -> float:
        sizes = get_sizes(self.recipe, self.site)
        speed = float(self.bakery.cloud.latency.profile.link.machine_mb_per_s or 0) * 1e6
        if step.startswith("40-"):
            return sizes.images * 2 / speed
        if step.startswith("45-"):
            return sizes.models / speed
        if step == "verify":
            return 15 + sizes.content / (sizes.rate * 2**20 if sizes.rate else 93e6)
        named = (s for name, s in self.steps.items() if step.startswith(name))
        return next(named, 0.0) * self.slowness


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    clock = QuietClock()
    with open_bakery(monkeypatch, real=False, clock=clock) as bakery:

        def sleep(seconds: float) -> None:
            clock.advance(seconds)
            until(lambda: clock.is_quiet(bakery.cloud))

        monkeypatch.setattr(waiting, "sleep", sleep)
        monkeypatch.setattr(waiting, "now", clock.now)
        monkeypatch.setattr(stages, "time", SimpleNamespace(monotonic=clock.now))
        yield Workshop(bakery, clock)


RECIPES: dict[str, dict[str, Any]] = {
    "small": {"image_gb": 0.5, "models_gb": 0},
    "template": {"image_gb": 17, "models_gb": 1.85},
    "many models": {"image_gb": 4, "models_gb": 20},
    "as it comes": {
        "image_gb": 9, "models_gb": 0.5, "system_update": SystemUpdate(enabled=False),
    },
    "an extra step": {"image_gb": 6, "models_gb": 3, "extra_steps": extra("warm-up", "true")},
}  # fmt: skip
"""Five recipes; sizes in GB of an unpacked image and of models."""


def foresee(workshop: Workshop, recipe: ResolvedRecipe, **site: Any) -> Forecast:
    bakery = workshop.bakery
    return get_forecast(recipe, None, bakery.site(**site), bakery.lineage(), bakery.aws)


def test_the_duration_is_within_a_quarter_of_what_the_profile_adds_up_to(
    workshop: Workshop,
) -> None:
    table = []
    for name, content in RECIPES.items():
        recipe = workshop.make(name, **content)
        workshop.steps["20-system"] = 0.5 if "system_update" in content else 75.0
        # By figures and sizes alone, as before the lineage's first bake.
        told = forecast_bake(recipe, workshop.bakery.site(), "")
        _, took = workshop.bake(recipe)
        assert told.seconds is not None
        table.append((name, round(told.seconds), round(took), round(told.seconds / took - 1, 2)))

    wrong = [row for row in table if abs(row[3]) > TOLERANCE]
    assert not wrong, f"recipe, forecast s, took s, off by: {table}"


def test_earlier_bakes_tell_how_long_the_next_one_takes(workshop: Workshop) -> None:
    """Of machines that take three times as long, which no published figure would tell."""
    workshop.slowness = 3.0
    first = workshop.make("first", image_gb=9, models_gb=2, extra_steps=extra("slow", "true"))
    baked, _ = workshop.bake(first)
    image = workshop.bakery.aws.ec2.describe_images(ImageIds=[baked.ami_id])["Images"][0]
    text = tags.to_mapping(image["Tags"])[timings.KEY]
    assert len(text) <= 256

    second = workshop.make("second", image_gb=15, models_gb=1, extra_steps=extra("slow", "true"))
    told = foresee(workshop, second)
    by_figures = forecast_bake(second, workshop.bakery.site(), "")
    _, took = workshop.bake(second)

    assert told.seconds is not None
    assert by_figures.seconds is not None
    assert told.earlier == 1
    assert abs(told.seconds / took - 1) <= TOLERANCE, (told.seconds, took, text)
    assert abs(by_figures.seconds / took - 1) > TOLERANCE, "else this shows nothing"
    assert "by 1 earlier bake and sizes" in told.to_lines()[1]


def test_a_bake_that_was_gone_on_with_tells_nothing_of_the_next(workshop: Workshop) -> None:
    recipe = workshop.make("cut off", image_gb=1, models_gb=0)
    cut = Fault(fault="expired-credentials", after=2, action="SendCommand")
    gone = Fault(fault="expired-credentials", action="TerminateInstances")
    workshop.bakery.cloud.faults = Faults([cut, gone])
    with pytest.raises(Exception, match="credentials"):
        workshop.bake(recipe)
    workshop.bakery.cloud.faults = Faults()

    workshop.bake(recipe)

    assert foresee(workshop, recipe).earlier == 0


def test_a_preview_says_it_in_three_lines_and_asks_nothing_when_nothing_changes(
    workshop: Workshop,
) -> None:
    bakery = workshop.bakery
    site = bakery.site().model_dump(mode="json", exclude={"tags"})
    image = workshop.recipe.images[0]
    given = {
        "recipe": {"images": [{"repository": image.repository, "tag": "latest"}]},
        "site": site,
        "lineage": bakery.lineage().model_dump(),
    }

    first = check_inputs({}, given, lambda _: bakery.aws)
    before = len(bakery.cloud.calls.read())
    again = check_inputs(first.inputs, given, lambda _: bakery.aws)

    lines = first.notes[-3:]
    assert lines[0] == "no AMI has this content yet: one is baked."
    assert lines[1].startswith("it takes about ")
    assert "by sizes and published figures: prepare and update the system 1 min 35 s" in lines[1]
    assert lines[2].startswith("the bake costs about $0.0")
    assert "(g5.xlarge spot at $0.50/h in ap-northeast-2a)" in lines[2]
    assert "keeping it at most $1.50 a month: worth it from" in lines[2]
    assert again.notes == ()
    assert again.forecast is None
    asked = {call["action"] for call in bakery.cloud.calls.read()[before:]}
    assert "DescribeSpotPriceHistory" not in asked
    assert "DescribeImages" not in asked


def test_an_ami_that_is_there_is_foreseen_as_used(account: Account) -> None:
    told = get_forecast(
        None, {"ami_id": "ami-1", "owner_id": "210987654321"}, None, None, account.aws  # type: ignore[arg-type]
    )  # fmt: skip

    assert (told.outcome, told.ami_id, told.owner_id) == ("adopt", "ami-1", "210987654321")
    assert told.seconds == 0
    assert len(told.to_lines()) == 1


def test_what_is_not_known_is_said(workshop: Workshop) -> None:
    bakery = workshop.bakery
    recipe = workshop.make("x", image_gb=1, models_gb=1)
    blind = recipe.model_copy(
        update={
            "images": tuple(i.model_copy(update={"layer_bytes": None}) for i in recipe.images),
            "models": tuple(m.model_copy(update={"size_bytes": None}) for m in recipe.models),
        }
    )
    without_sizes = foresee(workshop, blind)
    assert without_sizes.seconds is None
    assert without_sizes.bake_usd is None
    missing = without_sizes.to_lines()[1]
    assert missing.startswith("no forecast of its duration: the size of the layers of batch-proc")

    without_inputs = get_forecast(None, None, bakery.site(), bakery.lineage(), bakery.aws)
    assert without_inputs.outcome == "unknown"
    assert "no forecast until then" in without_inputs.to_lines()[0]

    rare = foresee(workshop, recipe, instance_types=("p4d.24xlarge",))
    assert rare.price is None
    assert "the bake's cost is unknown (no price is known)" in rare.to_lines()[2]

    denied = Fault(
        fault="error", action="DescribeSpotPriceHistory", code="UnauthorizedOperation", status=403
    )
    bakery.cloud.faults = Faults([denied])
    listed = foresee(workshop, recipe)
    assert listed.price == find_on_demand("g5.xlarge", "ap-northeast-2")
    assert "(g5.xlarge on-demand at $1.24/h)" in listed.to_lines()[2]


def test_the_templates_own_numbers_give_its_ten_jobs() -> None:
    """$1.50 a month, $0.10 a bake; 17 min at $0.20/h and $0.10 network a job (its cost section)."""
    even = BreakEven(
        month_usd=1.50, bake_usd=0.10, saved_s=17 * 60, usd_hour=0.20, network_usd=0.10
    )
    assert even.job_usd == pytest.approx(0.157, abs=0.001)
    assert even.jobs in (10, 11)
    assert BreakEven(month_usd=1, bake_usd=0, saved_s=0, usd_hour=1, network_usd=0).jobs is None


def test_timings_are_read_as_they_were_written() -> None:
    sizes = Sizes(images=8.4e9, models=1.85e9, update=False, rate=300)
    seconds = {"launch": 41.2, "10": 0.61, "20": 88.0, "40": 312.0, "image": 163.0}
    read = timings.read_text(timings.to_text(Timings(seconds, sizes)))

    assert read is not None
    assert read.sizes == sizes
    assert read.seconds == pytest.approx(seconds, rel=0.01)
    for broken in ("", "launch=4", "launch=x mb=1/2/3/1", "mb=1/2"):
        assert timings.read_text(broken) is None


def test_every_stage_of_a_bake_has_an_expected_time(workshop: Workshop) -> None:
    recipe = workshop.make("all", image_gb=1, models_gb=1)
    sizes = get_sizes(recipe, workshop.bakery.site())
    stages_told = {s.what: expect(s.key, sizes) for s in list_stages(recipe, verify=True)}
    assert all(stages_told.values()), stages_told

    workshop.bake(recipe)
    said = [line for line in workshop.bakery.said if line.startswith("step ")]
    assert {line.partition(": ")[2].partition(" · ")[0] for line in said} == stages_told.keys()
    assert all("expected" in line for line in said)
