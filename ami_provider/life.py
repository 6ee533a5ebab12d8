"""The AMI's life as the engine asks for it: made, looked at, kept up, let go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ami_provider import errors, tags
from ami_provider.abandoned import remove_abandoned
from ami_provider.aws import Aws, get_aws
from ami_provider.bake import BakedImage, bake
from ami_provider.checking import DERIVED, GIVEN, OWN, Props, read_inputs
from ami_provider.comparing import GONE
from ami_provider.deleting import Owner, delete_ami, prune
from ami_provider.errors import BakeError
from ami_provider.faults import parse
from ami_provider.fingerprint import whole_numbers
from ami_provider.lookups.existing import get_content_tags, get_snapshot_ids
from ami_provider.ownership import list_held, set_keep
from ami_provider.progress import create_announcer, create_reporter
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import Lineage


def create_ami(props: Props) -> Props:
    """Bake the AMI, or take the one that has this content; gives all outputs.

    An interrupted run leaves its progress in AWS, and the next one goes on from there.
    """
    asked = read_inputs(_given(props))
    recipe = parse(ResolvedRecipe, whole_numbers(props["resolved"]))
    image = bake(
        recipe,
        asked.site,
        asked.lineage,
        aws=get_aws(asked.site.region),
        report=create_reporter(asked.lineage.urn),
        announce=create_announcer(asked.lineage.urn),
        user_tags=asked.site.tags | get_content_tags(recipe),
        keep=asked.keep,
    )
    if image.adopted:
        create_announcer(asked.lineage.urn)(f"{image.ami_id} has this content: used, not baked.")
    return {key: props[key] for key in (*GIVEN, *DERIVED) if key in props} | _made(image)


def _made(image: BakedImage) -> Props:
    return {
        "ami_id": image.ami_id,
        "ami_name": image.name,
        "snapshot_ids": list(image.snapshot_ids),
        "owner_nonce": image.owner_nonce,
        "model_checksums": dict(image.model_checksums),
        "state": "available",
    }


def find_ami(image_id: str, props: Props) -> Props | None:
    """The outputs as AWS has them now; None only if EC2 says that nothing of the AMI is left.

    Deregistering an AMI by hand leaves its snapshots, which cost; then its state is `gone`, and
    the snapshots go with the resource.
    """
    aws = get_aws(str(props["region"]))
    known = {key: value for key, value in props.items() if key != "__provider"}
    image = _describe(image_id, aws)
    if image is None:
        left = _find_snapshots([str(s) for s in props.get("snapshot_ids", [])], aws)
        return known | {"snapshot_ids": left, "state": GONE} if left else None
    found = {
        "ami_name": str(image.get("Name", props.get("ami_name", ""))),
        "snapshot_ids": get_snapshot_ids(image) or props.get("snapshot_ids", []),
        "state": str(image.get("State")),
    }
    return known | found


def _describe(image_id: str, aws: Aws) -> Any | None:
    try:
        images = aws.ec2.describe_images(
            ImageIds=[image_id], IncludeDeprecated=True, IncludeDisabled=True
        )["Images"]
    except Exception as error:
        if errors.is_not_found(error):
            return None
        raise _failed(error, f"could not look at {image_id}", "ec2:DescribeImages") from error
    return images[0] if images and images[0].get("State") != "deregistered" else None


def _find_snapshots(ids: list[str], aws: Aws) -> list[str]:
    """Those of the snapshots that still exist."""
    if not ids:
        return []
    try:
        found = aws.ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": ids}])
    except Exception as error:
        raise _failed(error, f"could not look at {ids[0]}", "ec2:DescribeSnapshots") from error
    return [snapshot["SnapshotId"] for snapshot in found["Snapshots"]]


def _failed(error: Exception, brief: str, action: str, resolution: str = "") -> Exception:
    """The message for a failed call; the error itself where it is not AWS's: a defect here."""
    if not errors.is_aws_error(error):
        return error
    return errors.bake_error(error, brief, action, resolution)


def update_ami(image_id: str, olds: Props, news: Props) -> Props:
    """Take over site and tags, and enable an AMI that somebody disabled; gives all outputs."""
    aws = get_aws(str(news["region"]))
    outs = {key: news[key] for key in (*GIVEN, *DERIVED) if key in news}
    outs |= {key: olds[key] for key in OWN if key in olds}
    resources = [image_id, *map(str, olds.get("snapshot_ids", []))]
    new, old = _tags(news), _tags(olds)
    gone = sorted(old.keys() - new.keys())
    action = "ec2:CreateTags"
    try:
        if new != old and new:
            aws.ec2.create_tags(Resources=resources, Tags=tags.to_list(new))
        action = "ec2:DeleteTags"
        if gone:
            aws.ec2.delete_tags(Resources=resources, Tags=[{"Key": key} for key in gone])
        action = "ec2:EnableImage"
        if olds.get("state") == "disabled":
            aws.ec2.enable_image(ImageId=image_id)
    except Exception as error:
        way_out = "Run `pulumi refresh`, then try again."
        raise _failed(error, f"could not update {image_id}", action, way_out) from error
    _update_keep(image_id, olds, news, aws)
    return outs | {"state": "available"}


def _update_keep(image_id: str, olds: Props, news: Props, aws: Aws) -> None:
    old, new = (int(props.get("keep") or 0) for props in (olds, news))
    if old != new:
        lineage = parse(Lineage, news["lineage"], ("lineage",))
        set_keep(aws, image_id, lineage, new)
        prune(image_id, new, Owner(aws, lineage, create_announcer(lineage.urn)))


def delete_owned(image_id: str, props: Props) -> None:
    """Let go of the AMI: kept for a rollback, left to others, or deleted. May be repeated."""
    lineage = parse(Lineage, props["lineage"], ("lineage",))
    nonce = str(props.get("owner_nonce", ""))
    if not nonce:
        raise BakeError(
            f"the state does not say whether it owns {image_id}",
            "There is no owner_nonce in it: it was written by hand or by another version.",
            f"Delete the AMI yourself, then run `pulumi state delete` for {lineage.urn}.",
        )
    aws = get_aws(str(props["region"]))
    delete_ami(
        image_id,
        owner=Owner(aws, lineage, create_announcer(lineage.urn)),
        nonce=nonce,
        snapshot_ids=tuple(map(str, props.get("snapshot_ids", []))),
    )
    if not list_held(aws, lineage):  # The end of the resource, and of what it ever began.
        remove_abandoned(aws, lineage)


def _given(props: Mapping[str, Any]) -> Props:
    return {key: props[key] for key in GIVEN if props.get(key) is not None}


def _tags(props: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (props.get("tags") or {}).items()}
