"""What services do when a cloud starts and stops, registered like handlers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

Hook = Callable[["Cloud"], None]

AT_START: list[Hook] = []
AT_STOP: list[Hook] = []


def at_start(hook: Hook) -> Hook:
    """Run the function when a cloud starts, its state loaded, before it answers calls."""
    AT_START.append(hook)
    return hook


def at_stop(hook: Hook) -> Hook:
    """Run the function when a cloud stops in order, before its machines are closed."""
    AT_STOP.append(hook)
    return hook
