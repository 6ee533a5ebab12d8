"""By hand, `make test-long`: kills around every AWS call of a bake, a fault at every action.

The client is the real CLI with the real provider process; the machines are recorded.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.ami_provider.engine import (
    QUIET,
    Engine,
    finish,
    kill_session,
    open_engine,
    order_faults,
)
from tests.ami_provider.gate import Moment
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.timeout(8 * 3600)]

Record = Callable[[str, object], None]

FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("throttled 3 times", {"fault": "throttle", "times": 3}),
    ("answered 500 twice", {"fault": "error", "times": 2}),
    ("no answer in time", {"fault": "timeout", "times": 1, "seconds": 65}),
    ("dropped before the effect", {"fault": "drop-before", "times": 1}),
    ("dropped after the effect", {"fault": "drop-after", "times": 1}),
    ("throttled for ever", {"fault": "throttle"}),
)


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ("--recorded",)


@pytest.fixture(scope="module")
def engine(cloud: LocalCloud) -> Iterator[Engine]:
    with open_engine(cloud) as engine:
        yield engine


def list_calls(engine: Engine) -> list[str]:
    """Every call of the provider in an `up` that bakes, resolution included."""
    engine.bakes = {"a": "echo all calls"}
    engine.gate.act_at(lambda _number, _action: False, "before", lambda: None)
    engine.up()
    return list(engine.gate.actions)


def is_whole(engine: Engine) -> bool:
    """One AMI and its snapshot, the one of the outputs, and nothing else."""
    held = {"machines": 0, "volumes": 0, "images": 1, "snapshots": 1}
    return engine.count() == held and list(engine.outputs().values()) == engine.image_ids()


def is_call(wanted: int, number: int, _action: str) -> bool:
    return number == wanted


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_every_call(engine: Engine, moment: Moment, record_property: Record) -> None:
    start = time.monotonic()
    calls = list_calls(engine)
    wrong = []
    for number, action in enumerate(calls, 1):
        engine.bakes = {"a": f"echo killed {moment} {number}"}
        status, _ = finish(engine.start_up(partial(is_call, number), moment, kill_session))
        killed = status == -signal.SIGKILL
        engine.unlock()
        engine.up()
        if not (killed and is_whole(engine)):
            wrong.append(f"{number} {action}: killed {killed}, {engine.count()}")
    took = round(time.monotonic() - start, 1)
    good = len(calls) - len(wrong)
    record_property("matrix", [f"engine: killed {moment}", len(calls), good, 0, len(wrong), took])
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_at_every_action(
    engine: Engine, name: str, fault: dict[str, Any], record_property: Record
) -> None:
    start = time.monotonic()
    actions = [action for action in dict.fromkeys(list_calls(engine)) if " " not in action]
    wrong, refused = [], 0
    for action in actions:
        engine.bakes = {"a": f"echo {name} {action}"}
        order_faults(engine.cloud, [{"action": action, **fault}])
        status, text = engine.run("up", *QUIET)
        order_faults(engine.cloud, [])
        if status and "times" in fault:
            wrong.append(f"{action} was not survived: {text}")
        if status and ("Traceback" in text or "a defect in the provider" in text):
            wrong.append(f"{action}: not a clear error: {text}")
        refused += status != 0
        engine.up()
        if not is_whole(engine):
            wrong.append(f"{action}: {engine.count()}")
    took = round(time.monotonic() - start, 1)
    many = len(actions)
    record_property(
        "matrix",
        [f"engine: {name}", many, many - refused - len(wrong), refused, len(wrong), took],
    )
    assert not wrong, "\n".join(wrong)
