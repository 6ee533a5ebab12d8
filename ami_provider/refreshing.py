"""The AMI as a refresh sees it: how it is in AWS now, and what is otherwise than was asked for."""

from __future__ import annotations

from typing import Any

from ami_provider.aws import Aws, get_aws
from ami_provider.comparing import GONE, UNSHARED
from ami_provider.copies import find_copies
from ami_provider.errors import bake_error, is_aws_error
from ami_provider.faults import parse
from ami_provider.fingerprint import whole_numbers
from ami_provider.image_state import Image, get_state
from ami_provider.properties import Props
from ami_provider.publication import Publication
from ami_provider.publishing import observe
from ami_provider.updating import get_copies, is_foreign, read_lineage


def find_ami(image_id: str, props: Props) -> Props | None:
    """The outputs as AWS has them now; None only if EC2 says that nothing of the AMI is left.

    Deregistering an AMI by hand leaves its snapshots and copies, which cost; then its state is
    `gone`, and they go with the resource. Another account's AMI that cannot be seen any more has
    the state `unshared`, whether it was deleted or is not shared.
    """
    aws = get_aws(str(props["region"]))
    known = {key: value for key, value in props.items() if key != "__provider"}
    image = get_state(aws, image_id)
    if is_foreign(props):
        return known | {"state": image.state if image else UNSHARED}
    copies = get_copies(props)
    if image is None:
        left = _find_snapshots([str(s) for s in props.get("snapshot_ids", [])], aws)
        there = {r: c.id for r, c in find_copies(aws, Image(image_id, "", GONE), copies)}
        gone = {"snapshot_ids": left, "copies": there, "state": GONE}
        return known | gone if left or there else None
    published = observe(
        image,
        _read_publication(props),
        copies,
        lineage=read_lineage(props),
        aws=aws,
    )
    found = {
        "ami_name": image.name or props.get("ami_name", ""),
        "snapshot_ids": list(image.snapshot_ids) or props.get("snapshot_ids", []),
        "state": image.state,
    }
    return known | found | published.to_outputs()


def _read_publication(props: Props) -> Publication | None:
    given = props.get("publication")
    return parse(Publication, whole_numbers(given), ("publication",)) if given else None


def _find_snapshots(ids: list[str], aws: Aws) -> list[str]:
    """Those of the snapshots that still exist."""
    if not ids:
        return []
    filters: Any = [{"Name": "snapshot-id", "Values": ids}]
    try:
        found = aws.ec2.describe_snapshots(Filters=filters)
    except Exception as error:
        if not is_aws_error(error):
            raise
        brief = f"could not look at {ids[0]}"
        raise bake_error(error, brief, "ec2:DescribeSnapshots") from error
    return [snapshot["SnapshotId"] for snapshot in found["Snapshots"]]
