"""How tests wait for what comes about: until it does, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import WaiterConfigTypeDef

T = TypeVar("T")

PATIENT: WaiterConfigTypeDef = {"Delay": 1, "MaxAttempts": 600}
"""For boto3's waiters: they look each second, and give up about when pytest ends the test."""


def until(look: Callable[[], T | None]) -> T:
    """What `look` gives once it gives something true. Nothing but pytest's limit ends it before."""
    while not (found := look()):
        time.sleep(0.02)
    return found
