"""What Pulumi's replacement does for a lineage without Pulumi: the former AMIs become earlier."""

from __future__ import annotations

from ami_provider.aws import Aws
from ami_provider.ownership import keep_for_rollback, list_held, read_claims
from ami_provider.site import Lineage


def succeed(image_id: str, lineage: Lineage, aws: Aws) -> list[str]:
    """Mark the lineage's other AMIs as earlier ones, and give their IDs, the newest first.

    Only where this is its current AMI. May be repeated. Raises `BakeError`.
    """
    claims = read_claims(list_held(aws, lineage), lineage)
    if image_id not in claims:
        return []
    others = [i for i, c in claims.items() if i != image_id and c.turn < claims[image_id].turn]
    for other in others:
        if not claims[other].is_earlier:
            keep_for_rollback(aws, other, lineage, claims[other])
    return sorted(others, key=lambda one: claims[one].turn, reverse=True)
