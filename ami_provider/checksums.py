"""The SHA-256s that a builder computed, kept in the tags of the AMI's snapshots for adopters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.errors import bake_error, is_aws_error
from ami_provider.resolved import ResolvedRecipe

KEY = tags.PREFIX + "sha256/"
"""Tags of a snapshot: computed SHA-256s in the order of their models' destinations, in base64."""
EACH = 6
"""SHA-256s in one tag: 192 bytes are the 256 characters that a value may have."""
MOST = 8
"""Tags at most, so 48 models: the user's own tags and a bake's leave that many of EC2's 50."""


def to_tags(recipe: ResolvedRecipe, computed: Mapping[str, str]) -> dict[str, str]:
    """Tags with the checksums that the recipe itself does not tell.

    Of more than 48 such models the first 48: an adopter of the AMI is not told the others'.
    """
    known = [computed[place] for place in _list_unknown(recipe) if place in computed]
    if len(known) < len(_list_unknown(recipe)):
        return {}
    parts = [known[at : at + EACH] for at in range(0, min(len(known), EACH * MOST), EACH)]
    return {
        f"{KEY}{n}": base64.b64encode(bytes.fromhex("".join(part))).decode()
        for n, part in enumerate(parts)
    }


def find_checksums(aws: Aws, recipe: ResolvedRecipe, snapshots: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 by destination, of the models whose own the builder of an AMI had to compute."""
    places = _list_unknown(recipe)
    if not places or not snapshots:
        return {}
    try:
        filters: Any = [{"Name": "snapshot-id", "Values": list(snapshots)}]
        found = aws.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
    except Exception as error:
        if not is_aws_error(error):
            raise
        brief = f"could not look at {snapshots[0]}"
        raise bake_error(error, brief, "ec2:DescribeSnapshots") from error
    named = tags.to_mapping(found[0].get("Tags")) if found else {}
    parts = [named.get(f"{KEY}{n}", "") for n in range(MOST)]
    read = base64.b64decode("".join(parts)).hex()
    sums = [read[at : at + 64] for at in range(0, len(read), 64)]
    return dict(zip(places, sums, strict=False))


def _list_unknown(recipe: ResolvedRecipe) -> list[str]:
    return sorted(model.destination for model in recipe.models if not model.sha256)
