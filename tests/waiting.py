"""How tests wait for what comes about: until it does, however slow the machine is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import WaiterConfigTypeDef

PATIENT: WaiterConfigTypeDef = {"Delay": 1, "MaxAttempts": 600}
"""For boto3's waiters: they look each second, and give up about when pytest ends the test."""
