"""The AMI's life as the engine asks for it: made, and let go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ami_provider.abandoned import remove_abandoned
from ami_provider.asked import Asked, read_inputs, read_resolved
from ami_provider.aws import get_aws
from ami_provider.bake import BakedImage, bake
from ami_provider.copies import find_copies
from ami_provider.deleting import Owner, delete_ami
from ami_provider.errors import BakeError, lacks_credentials
from ami_provider.image_removal import delete_image
from ami_provider.image_state import get_state
from ami_provider.images import ImagePendingError
from ami_provider.lookups.existing import get_content_tags
from ami_provider.ownership import find_others, list_held
from ami_provider.progress import create_announcer, create_reporter
from ami_provider.properties import DERIVED, GIVEN, Props
from ami_provider.publishing import UNPUBLISHED, Published, copying
from ami_provider.updating import (
    get_copies,
    get_given,
    is_foreign,
    publish_asked,
    read_lineage,
)

Tell = Callable[[str], None]


def create_ami(
    props: Props,
    *,
    former: Props | None = None,
    report: Tell | None = None,
    announce: Tell | None = None,
) -> Props:
    """Bake the AMI, or take the one that has this content, and publish it; gives all outputs.

    `former` is what the state has of the resource, where it was renamed in this run.

    An interrupted run leaves its progress in AWS, and the next one goes on from there. One that
    fails leaves nothing that it made, in any region. `report` and `announce` are told its course;
    without them the engine is.
    """
    asked = read_inputs(get_given(props))
    recipe = read_resolved(props)
    announce = announce or create_announcer(asked.lineage.urn)
    report = report or create_reporter(asked.lineage.urn)
    image = bake(
        recipe,
        asked.site,
        asked.lineage,
        aws=get_aws(asked.site.region),
        report=report,
        announce=announce,
        user_tags=asked.site.tags | get_content_tags(recipe),
        keep=asked.keep,
        trusted_owners=asked.trusted_owners,
        former=read_lineage(former) if former else None,
        while_checked=lambda image_id: _copying(image_id, asked, announce),
    )
    if image.adopted:
        announce(f"{image.ami_id} has this content: used, not baked.")
    published = _publish(image, asked)
    outs = {key: props[key] for key in (*GIVEN, *DERIVED) if key in props}
    return outs | _made(image) | published.to_outputs()


def _copying(image_id: str, asked: Asked, announce: Tell) -> AbstractContextManager[None]:
    """Copies take longer than the check: they are on their way meanwhile."""
    if asked.publication is None:
        return nullcontext()
    return copying(
        image_id,
        asked.publication,
        lineage=asked.lineage,
        aws=get_aws(asked.site.region),
        report=announce,
        user_tags=asked.site.tags,
    )


def _publish(image: BakedImage, asked: Asked) -> Published:
    """Publish the AMI; where that fails and it is a new one, it goes again, with its copies.

    No state would know it. What the next run can go on with stays: copies that are late, all of it
    while there are no credentials, and with `on_failure: keep`. What an earlier run began to
    publish, or an AMI that was kept was published as, is taken back where nobody asks for it now.
    """
    if asked.publication is None and not image.is_published:
        return UNPUBLISHED
    try:
        return publish_asked(image.ami_id, asked, image.owner_id)
    except Exception as error:
        goes_on = isinstance(error, ImagePendingError) or lacks_credentials(error)
        if not (image.adopted or goes_on or asked.site.on_failure == "keep"):
            told = _take_back(image, asked)
            if isinstance(error, BakeError):
                error.details += f"\n{told}"
            else:
                error.add_note(told)
        raise


def _take_back(image: BakedImage, asked: Asked) -> str:
    """Remove a new AMI and its copies; what became of it, in a sentence."""
    aws, lineage = get_aws(asked.site.region), asked.lineage
    try:
        found = get_state(aws, image.ami_id)
        if found is None or find_others(found, lineage):
            return f"{image.ami_id} stays for its other owners." if found else ""
        regions = [copy.region for copy in asked.publication.copies] if asked.publication else ()
        for region, copy in find_copies(aws, found, regions):
            delete_image(aws.at(region), copy)
        delete_image(aws, found)
    except BakeError as second:
        return (
            f"And then the clean-up failed: {second}\n"
            f"{image.ami_id} is left: the next `pulumi up` takes it."
        )
    return f"{image.ami_id} and its copies were removed again (on_failure: keep leaves them)."


def _made(image: BakedImage) -> Props:
    return {
        "ami_id": image.ami_id,
        "ami_name": image.name,
        "snapshot_ids": list(image.snapshot_ids),
        "owner_id": image.owner_id,
        "owner_nonce": image.owner_nonce,
        "model_checksums": dict(image.model_checksums),
        "state": "available",
    }


def delete_owned(image_id: str, props: Props, *, ends: bool = False) -> None:
    """Let go of the AMI: kept for a rollback, left to others, or deleted. May be repeated.

    `ends` says that the resource itself goes, with all its AMIs. Another account's AMI is left as
    it is.
    """
    if is_foreign(props):
        return
    lineage = read_lineage(props)
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
        regions=tuple(get_copies(props)),
        ends=ends,
    )
    if not list_held(aws, lineage):  # The end of the resource, and of what it ever began.
        remove_abandoned(aws, lineage)
