"""Bakes through the real engine on real machines: killed clients, faults, two at once, Ctrl-C.

One cloud and one stack for all of it. Every bake of a test has content of its own.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.ami_provider.engine import Engine, finish, kill_session, open_engine, order_faults
from tests.ami_provider.gate import Chosen, Moment
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [
    pytest.mark.engine,
    pytest.mark.machines,
    pytest.mark.timeout(2400),  # a dozen kills or faults each, also where everything is very slow
    pytest.mark.xdist_group("trouble"),
]

Record = Callable[[str, object], None]

Kill = tuple[str, int, Moment]
"""At which call (from 1) of an action, before or after its effect."""

KILLS: tuple[tuple[Kill, ...], ...] = (
    (
        ("RunInstances", 1, "before"),
        ("SendCommand", 1, "after"),
        ("CreateImage", 1, "before"),
        ("RunInstances", 1, "after"),
    ),
    (
        ("RunInstances", 1, "after"),
        ("CreateTags", 1, "before"),
        ("CreateImage", 1, "after"),
        ("TerminateInstances", 2, "before"),
    ),
    (
        ("DescribeInstanceInformation", 1, "after"),
        ("SendCommand", 5, "after"),
        ("CreateTags", 2, "after"),
        ("TerminateInstances", 2, "after"),
    ),
)
"""Twelve places over a whole bake: each of three bakes is killed four times, ever later.

Launching, coming up, delivering, the steps, the pull, the last step, imaging, the verifier's
launch, its end.
"""

FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("launch", {"action": "RunInstances", "fault": "drop-after", "times": 1}),
    ("launch", {"action": "RunInstances", "fault": "throttle", "times": 3}),
    ("launch", {"action": "DescribeInstanceInformation", "fault": "error", "times": 2}),
    ("deliver", {"action": "SendCommand", "fault": "drop-before", "times": 1}),
    ("steps", {"action": "SendCommand", "fault": "drop-after", "after": 3, "times": 1}),
    ("steps", {"action": "GetCommandInvocation", "fault": "throttle", "after": 2, "times": 3}),
    ("steps", {"action": "CreateTags", "fault": "error", "times": 2}),
    ("image", {"action": "CreateImage", "fault": "drop-after", "times": 1}),
    ("image", {"action": "DescribeImages", "fault": "throttle", "after": 3, "times": 3}),
    ("image", {"action": "TerminateInstances", "fault": "drop-before", "times": 1}),
    ("verify", {"action": "RunInstances", "fault": "error", "after": 1, "times": 2}),
    ("verify", {"action": "TerminateInstances", "fault": "throttle", "after": 1, "times": 3}),
)
"""Twelve faults over the phases of a bake, three kinds at a time."""


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ()


@pytest.fixture(scope="module")
def engine(cloud: LocalCloud) -> Iterator[Engine]:
    with open_engine(cloud) as engine:
        yield engine


def assert_one_ami_for_each(engine: Engine) -> None:
    """State, AWS and outputs agree: one AMI and its snapshot for each resource, nothing else."""
    many = len(engine.bakes)
    held = {"machines": 0, "volumes": 0, "images": many, "snapshots": many}
    assert engine.count() == held
    outputs = engine.outputs()
    assert set(outputs) == set(engine.bakes)
    assert sorted(outputs.values()) == sorted(engine.image_ids())


def count_to(action: str, which: int) -> Chosen:
    """Chooses the `which`-th call of an action."""
    seen = 0

    def chosen(_number: int, called: str) -> bool:
        nonlocal seen
        seen += called == action
        return called == action and seen == which

    return chosen


def test_a_client_killed_anywhere_is_gone_on_with(engine: Engine, record_property: Record) -> None:
    """Kill -9 of every process, `pulumi cancel` for the backend's lock, and again; a plain run."""
    start = time.monotonic()
    for number, kills in enumerate(KILLS):
        engine.bakes = {"a": f"echo killed {number}"}
        for action, which, moment in kills:
            process = engine.start_up(count_to(action, which), moment, kill_session)
            status, text = finish(process)
            assert status == -signal.SIGKILL, f"{action} {which}: {text}"
            engine.unlock()
        engine.up()
        assert_one_ami_for_each(engine)
    took, many = round(time.monotonic() - start, 1), sum(map(len, KILLS))
    record_property("matrix", ["engine: killed", many, many, 0, 0, took])


def test_faults_of_aws_are_survived(engine: Engine, record_property: Record) -> None:
    start = time.monotonic()
    for number in range(3):  # Each bake meets every third of them.
        engine.bakes = {"a": f"echo faults {number}"}
        met = [fault for _, fault in FAULTS[number::3]]
        order_faults(engine.cloud, met)
        text = engine.up()
        left = order_faults(engine.cloud, [])
        assert [one["used"] for one in left] == [one["times"] for one in met], text
        assert_one_ami_for_each(engine)
    took = round(time.monotonic() - start, 1)
    record_property("matrix", ["engine: faults", len(FAULTS), len(FAULTS), 0, 0, took])


def test_two_clients_at_once_make_one_ami(engine: Engine) -> None:
    """Two stacks want the same content at the same moment: one AMI, owned by both."""
    other = replace(engine, stack="two", bakes={"a": "echo shared"})
    other.init()
    engine.bakes = dict(other.bakes)
    before = engine.count_launches()
    texts: dict[str, str] = {}

    def up(one: Engine) -> None:
        texts[one.stack] = one.up()

    threads = [threading.Thread(target=up, args=(one,)) for one in (engine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(texts) == {"one", "two"}
    assert engine.outputs() == other.outputs()
    assert engine.count() == {"machines": 0, "volumes": 0, "images": 1, "snapshots": 1}
    assert engine.count_launches() - before == 2, "a builder and a verifier, for both of them"
    other.destroy()
    assert_one_ami_for_each(engine)


def test_ctrl_c_once_lets_the_bake_end(engine: Engine) -> None:
    engine.bakes = {"a": "echo interrupted once"}
    status, text = finish(
        engine.start_up(
            count_to("SendCommand", 3), "before", lambda cli: cli.send_signal(signal.SIGINT)
        )
    )

    assert status != 0, text
    assert "created" in text
    assert {"machines": 0, "volumes": 0}.items() <= engine.count().items()
    assert engine.count()["images"] == 2, "the old AMI goes with the next run"
    engine.up()
    assert_one_ami_for_each(engine)


def test_ctrl_c_twice_leaves_and_the_next_run_resumes(engine: Engine) -> None:
    engine.bakes = {"a": "echo interrupted twice"}
    understood = threading.Event()

    def interrupt_twice(cli: subprocess.Popen[str]) -> None:
        cli.send_signal(signal.SIGINT)
        understood.wait()  # Two signals that come together are one.
        cli.send_signal(signal.SIGINT)
        cli.wait()

    process = engine.start_up(count_to("SendCommand", 4), "before", interrupt_twice)
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if "press ^C again" in line:
            understood.set()
    assert process.wait() != 0, text
    launched = engine.count_launches()

    engine.unlock()
    told = engine.up()

    assert "of an earlier or another run" in told
    assert engine.count_launches() == launched + 1, "only the verifier"
    assert_one_ami_for_each(engine)


def test_destroy_leaves_nothing_even_of_a_run_that_was_killed_at_its_end(engine: Engine) -> None:
    """Its AMI was claimed already, and no state knows it."""
    engine.bakes = {"a": "echo killed at its end"}
    ended = 0

    def is_after_the_claim(_number: int, called: str) -> bool:
        nonlocal ended
        ended += called == "TerminateInstances"
        return ended >= 2 and called == "DescribeInstances"

    status, text = finish(engine.start_up(is_after_the_claim, "after", kill_session))
    assert status == -signal.SIGKILL, text
    engine.unlock()
    assert engine.count()["images"] == 2, "the state's, and the one that was claimed"

    engine.destroy()

    assert set(engine.count().values()) == {0}
