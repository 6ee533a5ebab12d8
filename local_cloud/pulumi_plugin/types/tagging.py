"""Tags in the shapes that AWS's services give and take them, and names made from a prefix."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from typing import Any

from local_cloud.pulumi_plugin.values import Props

_count = itertools.count(1)


def tag_list(tags: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """`[{"Key": …, "Value": …}]`, as EC2, IAM and ECR take tags."""
    return [{"Key": str(key), "Value": str(value)} for key, value in (tags or {}).items()]


def tag_map(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """From AWS's list, without tags that AWS itself set (`aws:…`)."""
    pairs = {tag["Key"]: tag.get("Value", "") for tag in tags or ()}
    return own_tags(pairs)


def own_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Without the tags that AWS itself set (`aws:…`)."""
    return {key: value for key, value in (tags or {}).items() if not key.startswith("aws:")}


def tag_changes(olds: Props, news: Props) -> tuple[dict[str, str], list[str]]:
    """Which tags to set and which keys to take off, from the old to the new."""
    before, after = olds.get("tags") or {}, news.get("tags") or {}
    to_set = {key: str(value) for key, value in after.items() if before.get(key) != value}
    return to_set, [key for key in before if key not in after]


def ec2_tag_specification(kind: str, tags: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """EC2's `TagSpecifications` for one new resource; empty without tags."""
    return [{"ResourceType": kind, "Tags": tag_list(tags)}] if tags else []


def update_ec2_tags(ec2: Any, resource_id: str, olds: Props, news: Props) -> None:
    """Set and take off tags of an EC2 resource."""
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        ec2.delete_tags(Resources=[resource_id], Tags=[{"Key": key} for key in to_remove])
    if to_set:
        ec2.create_tags(Resources=[resource_id], Tags=tag_list(to_set))


def full_name(props: Props, name: str = "name", prefix: str = "namePrefix") -> str:
    """The name, or the prefix with the AWS provider's own 26-digit suffix (time and a counter)."""
    given = props.get(name)
    if given:
        return str(given)
    stamp = (
        time.strftime("%Y%m%d%H%M%S", time.gmtime()) + f"{time.time_ns() // 100_000 % 10_000:04d}"
    )
    return f"{props.get(prefix) or 'terraform-'}{stamp}{next(_count):08x}"


def update_batch_tags(batch: Any, arn: str, olds: Props, news: Props) -> None:
    """Set and take off tags of one of Batch's resources."""
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        batch.untag_resource(resourceArn=arn, tagKeys=to_remove)
    if to_set:
        batch.tag_resource(resourceArn=arn, tags=to_set)
