"""Trouble on order: calls that fail, limits, machines that die, things not seen yet."""

from local_cloud.faults.effects import (
    THROTTLE_CODES,
    DroppedError,
    after_effect,
    before_effect,
)
from local_cloud.faults.hooks import about_calls, tells_facts
from local_cloud.faults.kinds import Entry, Fault, Limit, MachineFault, Unseen
from local_cloud.faults.orders import Faults
from local_cloud.faults.reading import FaultsFileError, parse_faults, read_faults
from local_cloud.faults.when import Facts

__all__ = [
    "THROTTLE_CODES",
    "DroppedError",
    "Entry",
    "Facts",
    "Fault",
    "Faults",
    "FaultsFileError",
    "Limit",
    "MachineFault",
    "Unseen",
    "about_calls",
    "after_effect",
    "before_effect",
    "parse_faults",
    "read_faults",
    "tells_facts",
]
