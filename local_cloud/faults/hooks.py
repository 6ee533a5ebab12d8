"""What services add to faults: facts of a call's machines, and what befalls them after a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.call import Call, Params
    from local_cloud.faults.when import Facts

TellFacts = Callable[["Call"], "list[Facts]"]
AboutCall = Callable[["Call", "Params | None"], None]

FACTS: list[TellFacts] = []
ABOUT_CALLS: list[AboutCall] = []


def tells_facts(teller: TellFacts) -> TellFacts:
    """Register a function that gives the facts of each machine that a call launches or names."""
    FACTS.append(teller)
    return teller


def about_calls(hook: AboutCall) -> AboutCall:
    """Run the function before each call (None), and with its result before that is answered.

    What moto answers has an empty result, and S3's objects have none.
    """
    ABOUT_CALLS.append(hook)
    return hook


def facts_of_call(call: Call) -> list[Facts]:
    """What services know of the machines that a call launches or names."""
    return [facts for teller in FACTS for facts in teller(call)]
