"""What a forecast asks: earlier bakes of the lineage, the builder's price now, sizes on the web.

Nothing here refuses a preview: what cannot be had is unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from ami_provider import tags, timings
from ami_provider.aws import Aws
from ami_provider.costs import Price, find_on_demand
from ami_provider.errors import BakeError, is_aws_error
from ami_provider.image_state import list_images
from ami_provider.lookups.asking import Question, ask_all
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage
from ami_provider.timings import Timings
from ami_provider.unknowns import touches

MOST = 5
"""Earlier bakes that are looked at, the newest."""
WEB_S = 5.0
"""How long a web server may take to tell a size."""
SPOT_SOURCE = "ec2:DescribeSpotPriceHistory, now"


def find_prospects(
    site: BuildSite, lineage: Lineage, aws: Aws, *, unknown: frozenset[str] = frozenset()
) -> tuple[list[Timings], Price | None]:
    """Timings of the lineage's AMIs that are still there, and the price of the first choice."""
    questions: list[Question[object]] = [
        partial(find_earlier, lineage, aws),
        partial(find_price, site, aws, unknown=unknown),
    ]
    (earlier, price), _ = ask_all(questions)
    assert isinstance(earlier, list)
    return earlier, price if isinstance(price, Price) else None


def find_earlier(lineage: Lineage, aws: Aws) -> list[Timings]:
    """How long the newest bakes of the lineage took; those of AMIs that are gone are gone too.

    Only full ones: an incremental one keeps no timings.
    """
    try:
        named = {"Name": f"tag:{tags.LINEAGE}", "Values": [tags.get_path(lineage)]}
        images = list_images(aws, named)  # type: ignore[arg-type]
    except BakeError:
        return []
    newest = sorted(images, key=lambda image: image.created, reverse=True)
    read = (timings.read_text(image.tags.get(timings.KEY, "")) for image in newest)
    return [one for one in read if one][:MOST]


def find_web_sizes(recipe: ResolvedRecipe) -> ResolvedRecipe:
    """The recipe with the sizes that web servers tell of its models, where they do."""
    unsized = [m for m in recipe.models if m.size_bytes is None and m.source.startswith("http")]
    if not unsized:
        return recipe
    asked: list[Question[int]] = [partial(_find_web_size, m.source) for m in unsized]
    told, _ = ask_all(asked)
    sizes = {m.destination: size for m, size in zip(unsized, told, strict=True) if size}
    models = tuple(
        m.model_copy(update={"size_bytes": m.size_bytes or sizes.get(m.destination)})
        for m in recipe.models
    )
    return recipe.model_copy(update={"models": models})


def _find_web_size(url: str) -> int:
    """Bytes; 0 where nobody tells."""
    import urllib3

    try:
        with urllib3.PoolManager(retries=False, timeout=WEB_S) as pool:
            answer = pool.request("HEAD", url, redirect=True)
    except urllib3.exceptions.HTTPError:
        return 0
    length = answer.headers.get("Content-Length", "")
    return int(length) if answer.status == 200 and length.isdecimal() else 0


def find_price(site: BuildSite, aws: Aws, *, unknown: frozenset[str] = frozenset()) -> Price | None:
    """What the first machine type costs in the first subnet: spot where it is tried first and the
    API tells it, else on demand by the table; None if neither is known."""
    if touches(unknown, "site.instance_types"):
        return None
    kind = site.instance_types[0]
    spot = None
    if site.capacity != "on-demand":
        zone = "" if touches(unknown, "site.subnet_ids") else _find_zone(site, aws)
        spot = find_spot_price(kind, aws, zone)
    return spot or find_on_demand(kind, aws.region)


def find_spot_price(kind: str, aws: Aws, zone: str = "") -> Price | None:
    """What a machine type costs now in a zone, else in the dearest; None where AWS tells none."""
    now = datetime.now(UTC)
    try:
        found = aws.ec2.describe_spot_price_history(
            InstanceTypes=[kind],  # type: ignore[list-item]
            ProductDescriptions=["Linux/UNIX"],
            StartTime=now,
            EndTime=now,
        )["SpotPriceHistory"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        return None
    prices = {str(p.get("AvailabilityZone", "")): _number(p) for p in found}
    prices = {zone: usd for zone, usd in prices.items() if usd > 0}
    if not prices:
        return None
    # Without a price for the zone itself the dearest: a forecast is no bargain.
    place = zone if zone in prices else max(prices, key=lambda one: prices[one])
    return Price(
        instance_type=kind, market="spot", usd_hour=prices[place], source=SPOT_SOURCE, zone=place
    )


def _find_zone(site: BuildSite, aws: Aws) -> str:
    """The first subnet's zone; "" where it cannot be had."""
    filters: Any = [{"Name": "subnet-id", "Values": [site.subnet_ids[0]]}]
    try:
        subnets = aws.ec2.describe_subnets(Filters=filters)["Subnets"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        return ""
    return str(subnets[0].get("AvailabilityZone", "")) if subnets else ""


def _number(price: Any) -> float:
    try:
        return float(price.get("SpotPrice", 0))
    except ValueError:
        return 0.0
