"""Changes of an AMI that stays: its tags, publication, its resource's name, how many stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ami_provider import errors, records, tags, timings
from ami_provider.asked import Asked, read_inputs
from ami_provider.aws import Aws, get_aws
from ami_provider.baked import SELF
from ami_provider.copies import find_copies
from ami_provider.deleting import Owner, prune
from ami_provider.errors import BakeError
from ami_provider.faults import parse
from ami_provider.image_removal import enable_image
from ami_provider.image_state import Image
from ami_provider.ownership import set_keep
from ami_provider.progress import create_announcer, create_reporter
from ami_provider.properties import DERIVED, GIVEN, OWN, Props
from ami_provider.publishing import Published, publish
from ami_provider.renaming import move_claims
from ami_provider.site import Lineage


def update_ami(image_id: str, olds: Props, news: Props) -> Props:
    """Take over site, tags, publication, `keep` and the resource's own name; enable an AMI that
    somebody disabled.

    Gives all outputs. Another account's AMI is left as it is. May be repeated.
    """
    aws, asked = get_aws(str(news["region"])), read_inputs(get_given(news))
    outs = {key: news[key] for key in (*GIVEN, *DERIVED) if key in news}
    outs |= {key: olds[key] for key in OWN if key in olds}
    move_claims(aws, read_lineage(olds), asked.lineage, image_id)
    if is_foreign(olds):
        if asked.publication:
            raise _not_ours(image_id, str(olds["owner_id"]))
        return outs
    _retag(aws, image_id, olds, news)
    if olds.get("state") == "disabled":
        enable_image(aws, image_id)
    if asked.publication or olds.get("publication") or olds.get("drift"):
        outs |= publish_asked(image_id, asked, SELF).to_outputs()
    if asked.keep != int(olds.get("keep") or 0):
        set_keep(aws, image_id, asked.lineage, asked.keep)
        owner = Owner(aws, asked.lineage, create_announcer(asked.lineage.urn))
        prune(image_id, asked.keep, owner)
    return outs | {"state": "available"}


def publish_asked(image_id: str, asked: Asked, owner_id: str) -> Published:
    """Publish the AMI as the inputs ask. A failure leaves it: the next run goes on with it."""
    if owner_id != SELF:
        raise _not_ours(image_id, owner_id)
    return publish(
        image_id,
        asked.publication,
        lineage=asked.lineage,
        aws=get_aws(asked.site.region),
        report=create_reporter(asked.lineage.urn),
        timeout_s=asked.site.timeouts.image * 60,
        user_tags=asked.site.tags,
    )


def _not_ours(image_id: str, owner_id: str) -> BakeError:
    return BakeError(
        f"{image_id} cannot be published",
        f"It belongs to account {owner_id}, and only its owner may do that.",
        "Take `publication` out, or that account out of `trusted_owners`.",
    )


def _retag(aws: Aws, image_id: str, olds: Props, news: Props) -> None:
    """Take over the user's tags, on the AMI, its snapshots and its copies."""
    new, old, copies = _tags(news), _tags(olds), get_copies(olds)
    if new == old:
        return
    if "Name" in old:  # Without one of the user's own it has the one that it would be made with.
        new.setdefault("Name", str(olds.get("ami_name", "")))
    places = [(aws, [image_id, *map(str, olds.get("snapshot_ids", []))])]
    for region, copy in find_copies(aws, Image(image_id, "", ""), copies):
        places.append((aws.at(region), [i for i in (copy.id, *copy.snapshot_ids) if i != image_id]))
    gone = sorted(old.keys() - new.keys())
    for there, resources in places:
        action = "ec2:CreateTags"
        try:
            if new:
                _write_tags(there, resources, new)
            action = "ec2:DeleteTags"
            if gone:
                there.ec2.delete_tags(Resources=resources, Tags=[{"Key": key} for key in gone])
        except Exception as error:
            if not errors.is_aws_error(error):
                raise
            way_out = "Run `pulumi refresh`, then try again."
            brief = f"could not update {image_id}"
            raise errors.bake_error(error, brief, action, way_out) from error


def _write_tags(aws: Aws, resources: list[str], new: Mapping[str, str]) -> None:
    """Where there is no room for them, what is kept of the bake for readers gives way."""
    try:
        aws.ec2.create_tags(Resources=resources, Tags=tags.to_list(new))
    except Exception as error:
        if errors.get_code(error) != "TagLimitExceeded":
            raise
        kept = [timings.KEY, *(f"{records.MANIFEST}{n}" for n in range(records.TAGS))]
        aws.ec2.delete_tags(Resources=resources, Tags=[{"Key": key} for key in kept])
        aws.ec2.create_tags(Resources=resources, Tags=tags.to_list(new))


def read_lineage(props: Mapping[str, Any]) -> Lineage:
    """Whose AMI it is, as the state has it."""
    return parse(Lineage, props["lineage"], ("lineage",))


def get_given(props: Mapping[str, Any]) -> Props:
    """Those of the properties that the program gave."""
    return {key: props[key] for key in GIVEN if props.get(key) is not None}


def is_foreign(props: Mapping[str, Any]) -> bool:
    """Whether it is another account's AMI, which is used and never changed."""
    return (props.get("owner_id") or SELF) != SELF


def get_copies(props: Mapping[str, Any]) -> dict[str, str]:
    """The copies that the state knows of, by region."""
    return {str(key): str(value) for key, value in (props.get("copies") or {}).items()}


def _tags(props: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (props.get("tags") or {}).items()}
