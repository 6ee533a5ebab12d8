"""Spot prices: one standing price for each of a few machine types and zones."""

from __future__ import annotations

from datetime import UTC, datetime

from local_cloud.call import Call, Params, handles
from local_cloud.services.ec2_filters import filtered, page

#: Dollars an hour by type and zone letter, for Linux in ap-northeast-2: what SkyPilot's catalogue
#: of AWS's prices had in November 2026 (catalogs/v8/aws/vms.csv at 00148f2af367; its zones by ID).
#: Other types have no history, as types have that nobody can get in a zone.
PRICES = {
    "g4dn.xlarge": {"a": "0.282500", "b": "0.294900", "c": "0.283800"},
    "g5.xlarge": {"a": "0.503800", "c": "0.545500", "d": "0.370100"},
}
PRODUCT = "Linux/UNIX"
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
FIELDS = {
    "availability-zone": "AvailabilityZone",
    "instance-type": "InstanceType",
    "product-description": "ProductDescription",
    "spot-price": "SpotPrice",
}


@handles("ec2", "DescribeSpotPriceHistory")
def describe_spot_price_history(call: Call) -> Params:
    """The price that stands; it has never changed, so every span of time shows just it."""
    types = call.params.get("InstanceTypes") or list(PRICES)
    products = call.params.get("ProductDescriptions") or [PRODUCT]
    zone = call.params.get("AvailabilityZone")
    found = [
        {
            "AvailabilityZone": f"{call.region}{letter}",
            "InstanceType": kind,
            "ProductDescription": PRODUCT,
            "SpotPrice": price,
            "Timestamp": SINCE,
        }
        for kind in types
        for letter, price in PRICES.get(kind, {}).items()
        if PRODUCT in products and zone in (None, f"{call.region}{letter}")
    ]
    return page(call, filtered(call, found, FIELDS, call.action), "SpotPriceHistory")
