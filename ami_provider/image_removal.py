"""Takes an AMI away: disabled first, so that nobody starts to use it, then gone for good."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.errors import (
    BakeError,
    bake_error,
    get_code,
    is_aws_error,
    is_in_use,
    is_not_found,
    is_transient,
)
from ami_provider.image_state import Image, get_state

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import LaunchPermissionTypeDef

REPEATED_S = 180.0
"""How long a removal is tried through throttling, AWS's faults and "in use" for a moment."""


def disable_image(aws: Aws, image_id: str) -> Callable[[], None]:
    """Let nobody launch or adopt the AMI any more; gives the way back.

    AWS takes all launch permissions off a disabled AMI, and enabling it does not bring them back:
    the way back gives them again.
    """
    permissions: list[LaunchPermissionTypeDef] = []

    def read() -> None:
        found = aws.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
        permissions[:] = found.get("LaunchPermissions", [])

    brief = f"could not disable {image_id}"
    _repeat(read, brief, "ec2:DescribeImageAttribute")
    _repeat(lambda: aws.ec2.disable_image(ImageId=image_id), brief, "ec2:DisableImage")

    def undo() -> None:
        enable_image(aws, image_id)
        if permissions:
            _repeat(
                lambda: aws.ec2.modify_image_attribute(
                    ImageId=image_id, LaunchPermission={"Add": permissions}
                ),
                f"could not share {image_id} again",
                "ec2:ModifyImageAttribute",
            )

    return undo


def enable_image(aws: Aws, image_id: str) -> None:
    """Make a disabled AMI available again. May be repeated."""
    brief = f"could not enable {image_id}"
    _repeat(lambda: aws.ec2.enable_image(ImageId=image_id), brief, "ec2:EnableImage")


def delete_image(aws: Aws, image: Image) -> None:
    """Deregister the AMI and delete every snapshot of it. May be repeated.

    A protection against deregistration is lifted: it guards against hands, not against its owner.
    """
    snapshots = set(image.snapshot_ids)
    found = get_state(aws, image.id)
    if found is not None:
        snapshots.update(found.snapshot_ids)
        brief = f"could not deregister {image.id}"
        if found.is_protected:
            _repeat(
                lambda: aws.ec2.disable_image_deregistration_protection(ImageId=image.id),
                brief,
                "ec2:DisableImageDeregistrationProtection",
            )
        # With the snapshots in one call: a run that dies after it leaves none behind.
        _repeat(
            lambda: aws.ec2.deregister_image(ImageId=image.id, DeleteAssociatedSnapshots=True),
            brief,
            "ec2:DeregisterImage",
        )
    for snapshot in _find_left(aws, sorted(snapshots)):
        _repeat(
            partial(aws.ec2.delete_snapshot, SnapshotId=snapshot),
            f"could not delete {snapshot}, a snapshot of {image.id}",
            "ec2:DeleteSnapshot",
        )


def _find_left(aws: Aws, snapshots: list[str]) -> list[str]:
    """Those that still exist. Where a policy goes by tags, deleting one that is gone is denied."""
    left: list[str] = []

    def look() -> None:
        asked = [{"Name": "snapshot-id", "Values": snapshots}]
        found = aws.ec2.describe_snapshots(Filters=asked)["Snapshots"]  # type: ignore[arg-type]
        left[:] = [one["SnapshotId"] for one in found]

    if snapshots:
        _repeat(look, f"could not look at {snapshots[0]}", "ec2:DescribeSnapshots")
    return left


def _repeat(act: Callable[[], object], brief: str, action: str) -> None:
    """Do it until it is done; what is gone already counts as done."""

    def attempt() -> bool | None:
        try:
            act()
        except Exception as error:
            if is_not_found(error):
                return True
            if is_transient(error) or is_in_use(error):
                raise waiting.NoAnswerError(error) from error
            if not is_aws_error(error):
                raise
            raise bake_error(error, brief, action, _explain(error)) from error
        return True

    try:
        waiting.wait_until(attempt, timeout_s=REPEATED_S, first_s=1.0)
    except waiting.WaitTimeoutError as error:
        why = f"\n{error.cause}" if error.cause else ""
        details = f"{action} kept failing for three minutes.{why}"
        raise BakeError(brief, details, "Try again.") from None


def _explain(error: Exception) -> str:
    if get_code(error) != "OperationNotPermitted":
        return ""
    return (
        "The AMI is protected against deregistration, with a cool-down of 24 hours after the "
        "protection is lifted (it has been now). Run this again tomorrow."
    )
