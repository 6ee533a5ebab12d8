"""The AMI of a bake: found by fingerprint or name, made, waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ami_provider import tags, waiting
from ami_provider.aws import Aws
from ami_provider.errors import (
    BakeError,
    bake_error,
    is_aws_error,
    is_duplicate_name,
    is_not_found,
    is_transient,
    is_wrong_state,
)
from ami_provider.image_state import Image, list_images
from ami_provider.instance_state import is_running
from ami_provider.job import Job
from ami_provider.watching import get_watch

STATES = ("available", "pending", "disabled")
"""States of an AMI that can be had, the best first."""
APPEAR_S = 60.0
"""How long an AMI that was just made may stay unseen by DescribeImages."""
DONE_FIRST_S = 3.0
"""Shortest pause while an AMI is made: the smallest take 43 s (measured by others)."""


def find_image(job: Job) -> Image | None:
    """The account's own AMI with this fingerprint: available ones first, then those being made.

    A disabled one comes last: somebody is about to delete it, or began to and was interrupted.
    """
    by_tag = _describe(job, f"tag:{tags.FINGERPRINT}", job.fingerprint)
    by_name = _describe(job, "name", job.ami_name)
    usable = [i for i in {i.id: i for i in by_tag + by_name}.values() if _is_usable(job, i)]
    verified = tags.VERIFIED_YES
    usable.sort(key=lambda i: (STATES.index(i.state), i.verified != verified, i.id))
    return usable[0] if usable else None


def _is_usable(job: Job, image: Image) -> bool:
    """Not failed or going, and ours: a name alone may be somebody else's."""
    known = image.tags.get(tags.FINGERPRINT) == job.fingerprint
    return known and image.state in STATES


def create_image(
    job: Job,
    machine_id: str,
    on_snapshots: Mapping[str, str] = MappingProxyType({}),
    *,
    on_image: Mapping[str, str] = MappingProxyType({}),
) -> Image:
    """CreateImage of the quiet machine; if the name is taken, the AMI of the one who took it.

    `on_snapshots` are tags that its snapshots get beside those that the AMI has too, `on_image`
    those that only the AMI gets.
    """
    named = job.get_tags("image")
    try:
        made = job.aws.ec2.create_image(
            InstanceId=machine_id,
            Name=job.ami_name,
            Description=f"{tags.get_path(job.lineage)} {job.fingerprint[:16]}"[:255],
            NoReboot=True,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": tags.to_list({**named, **on_image})},
                {"ResourceType": "snapshot", "Tags": tags.to_list({**named, **on_snapshots})},
            ],
        )
        return Image(made["ImageId"], job.ami_name, "pending")
    except Exception as error:
        if is_duplicate_name(error):
            return _follow(job)
        if not is_aws_error(error):
            raise
        if is_wrong_state(error) or is_not_found(error):
            is_running(job.aws, machine_id)  # Raises if it was taken away.
        raise bake_error(error, f"could not image {machine_id}", "ec2:CreateImage") from error


def _follow(job: Job) -> Image:
    """The AMI that has our name already: another client's, or ours whose answer was lost."""
    try:
        return waiting.wait_until(lambda: find_image(job), timeout_s=APPEAR_S)
    except waiting.WaitTimeoutError:
        taken = _describe(job, "name", job.ami_name)
        who = ", ".join(f"{i.id} ({i.state})" for i in taken) or "an AMI that cannot be seen"
        raise BakeError(
            f"the AMI name {job.ami_name} is taken",
            f"{who} has it, without this image's fingerprint in its tags.",
            f"Deregister it: aws ec2 deregister-image --delete-associated-snapshots --region "
            f"{job.site.region} --image-id {taken[0].id if taken else 'AMI'}",
        ) from None


def wait_until_available(job: Job, image: Image, *, expected_s: float | None = None) -> Image:
    """Wait for the snapshot to complete; raises `BakeError` when it fails, or after the time-out.

    After a time-out the AMI is left to complete: the next run finds it and goes on.
    """
    seen = False

    def look() -> Image | None:
        nonlocal seen
        found = look_at_image(job.aws, image.id)
        if found is None:
            return Image(image.id, image.name, "gone") if seen else None
        seen = True
        return found if found.state != "pending" else None

    try:
        found = waiting.wait_until(
            look,
            timeout_s=job.site.timeouts.image * 60,
            first_s=DONE_FIRST_S,
            expected_s=expected_s,
        )
    except waiting.WaitTimeoutError as error:
        writing = "Its snapshot is still being written; big volumes can take hours."
        raise ImagePendingError(
            f"the AMI {image.id} is not available after {job.site.timeouts.image} min",
            f"It could not be looked at: {error.cause}" if error.cause else writing,
            "Run `pulumi up` again later: it finds this AMI and goes on. Or raise timeouts.image.",
        ) from None
    if found.state != "available":
        raise BakeError(
            f"the AMI {image.id} is {found.state}",
            found.reason or "EC2 gives no reason.",
            "Run `pulumi up` again; if it fails once more, look at the volume and the KMS key.",
        )
    return found


def look_at_image(aws: Aws, image_id: str) -> Image | None:
    """As `get_state`, for a wait: in one call with every other AMI that this process waits for.

    Raises `NoAnswerError` while AWS does not answer.
    """
    try:
        return get_watch(aws, "images", _find_by_id).look(image_id)
    except BakeError as error:
        if error.__cause__ and is_transient(error.__cause__):
            raise waiting.NoAnswerError(error) from error
        raise


def _find_by_id(aws: Aws, ids: Sequence[str]) -> dict[str, Image]:
    return {i.id: i for i in list_images(aws, {"Name": "image-id", "Values": list(ids)})}


class ImagePendingError(BakeError):
    """The AMI still is being made: nothing is wrong with it, so it is not removed."""


ImagePendingError.__module__ = "builtins"


def _describe(job: Job, name: str, value: str) -> list[Image]:
    return list_images(job.aws, {"Name": name, "Values": [value]})
