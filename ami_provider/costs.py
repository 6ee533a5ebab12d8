"""What a bake, an AMI and a job's start cost, in US dollars. Pure; every figure has its source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

STORAGE_USD_GB_MONTH = 0.05
"""An EBS snapshot's storage (the template's cost section; EBS pricing, standard tier)."""
NETWORK_USD_GB = 0.10 / 18.85
"""What a job's own pull and downloads cost: about $0.10 for 17 GB of image and 1.85 GB of models
(the template's cost section)."""
INITIALIZATION_USD_GIB = 0.0036
"""Loading a volume at a set rate, for each GiB of its snapshot (EBS pricing)."""

ON_DEMAND_SOURCE = (
    "AWS's price list as in SkyPilot's catalogue (skypilot-org/skypilot-catalog, "
    "catalogs/v8/aws/vms.csv at 00148f2af367), read in November 2026"
)
ON_DEMAND: dict[str, dict[str, float]] = {
    "g4dn.xlarge": {
        "ap-northeast-1": 0.71, "ap-northeast-2": 0.647, "ap-northeast-3": 0.71,
        "ap-south-1": 0.579, "ap-southeast-1": 0.736, "ap-southeast-2": 0.684,
        "ca-central-1": 0.584, "eu-central-1": 0.658, "eu-north-1": 0.558, "eu-south-1": 0.616,
        "eu-west-1": 0.587, "eu-west-2": 0.615, "eu-west-3": 0.615, "us-east-1": 0.526,
        "us-east-2": 0.526, "us-west-1": 0.631, "us-west-2": 0.526,
    },
    "g5.xlarge": {
        "ap-east-1": 1.5488, "ap-northeast-1": 1.459, "ap-northeast-2": 1.237,
        "ap-south-1": 1.208, "ap-southeast-2": 1.308, "ap-southeast-3": 1.408,
        "ca-central-1": 1.117, "eu-central-1": 1.258, "eu-north-1": 1.067, "eu-west-1": 1.123,
        "eu-west-2": 1.277, "me-central-1": 1.234, "us-east-1": 1.006, "us-east-2": 1.006,
        "us-west-2": 1.006,
    },
}  # fmt: skip
"""Dollars an hour by machine type and region (Linux), where the program's defaults need them."""

Market = Literal["spot", "on-demand"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """A machine's price: `usd_hour`, of which market and zone ("" for a whole region), by whom."""

    instance_type: str
    market: Market
    usd_hour: float
    source: str
    zone: str = ""

    def __str__(self) -> str:
        place = f" in {self.zone}" if self.zone else ""
        return f"{self.instance_type} {self.market} at ${self.usd_hour:.2f}/h{place}"


def find_on_demand(instance_type: str, region: str) -> Price | None:
    """The price in the table; None for a type or region that it does not have."""
    found = ON_DEMAND.get(instance_type, {}).get(region)
    if found is None:
        return None
    return Price(
        instance_type=instance_type, market="on-demand", usd_hour=found, source=ON_DEMAND_SOURCE
    )


def get_machine_usd(price: Price, seconds: float) -> float:
    return price.usd_hour * seconds / 3600


def get_month_usd(gib: float) -> float:
    """A month of a snapshot's storage."""
    return gib * STORAGE_USD_GB_MONTH


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """From how many jobs a month an AMI is worth its costs.

    `month_usd`: its storage; `bake_usd`: one bake, `bakes_month` times a month. A job saves
    `saved_s` seconds of a machine at `usd_hour`, and `network_usd`.
    """

    month_usd: float
    bake_usd: float
    saved_s: float
    usd_hour: float
    network_usd: float
    bakes_month: float = 1.0

    @property
    def job_usd(self) -> float:
        """Dollars that each job saves."""
        return self.saved_s / 3600 * self.usd_hour + self.network_usd

    @property
    def costs_usd(self) -> float:
        """Dollars a month."""
        return self.month_usd + self.bake_usd * self.bakes_month

    @property
    def jobs(self) -> int | None:
        """Jobs a month; None where a job saves nothing."""
        return math.ceil(round(self.costs_usd / self.job_usd, 6)) if self.job_usd > 0 else None


def format_usd(amount: float) -> str:
    """`$1.50`; `less than $0.01`."""
    return f"${amount:.2f}" if amount >= 0.01 or amount == 0 else "less than $0.01"
