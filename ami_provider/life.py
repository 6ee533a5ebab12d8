"""The AMI's life as the engine asks for it: made, and let go."""

from __future__ import annotations

from ami_provider.abandoned import remove_abandoned
from ami_provider.aws import get_aws
from ami_provider.bake import BakedImage, bake
from ami_provider.checking import read_inputs
from ami_provider.deleting import Owner, delete_ami
from ami_provider.errors import BakeError
from ami_provider.faults import parse
from ami_provider.fingerprint import whole_numbers
from ami_provider.lookups.existing import get_content_tags
from ami_provider.ownership import list_held
from ami_provider.progress import create_announcer, create_reporter
from ami_provider.properties import DERIVED, GIVEN, Props
from ami_provider.publishing import UNPUBLISHED
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import Lineage
from ami_provider.updating import get_copies, get_given, is_foreign, publish_asked


def create_ami(props: Props) -> Props:
    """Bake the AMI, or take the one that has this content, and publish it; gives all outputs.

    An interrupted run leaves its progress in AWS, and the next one goes on from there.
    """
    asked = read_inputs(get_given(props))
    recipe = parse(ResolvedRecipe, whole_numbers(props["resolved"]))
    announce = create_announcer(asked.lineage.urn)
    image = bake(
        recipe,
        asked.site,
        asked.lineage,
        aws=get_aws(asked.site.region),
        report=create_reporter(asked.lineage.urn),
        announce=announce,
        user_tags=asked.site.tags | get_content_tags(recipe),
        keep=asked.keep,
        trusted_owners=asked.trusted_owners,
    )
    if image.adopted:
        announce(f"{image.ami_id} has this content: used, not baked.")
    published = publish_asked(image.ami_id, asked, image.owner_id) if asked.publication else None
    outs = {key: props[key] for key in (*GIVEN, *DERIVED) if key in props}
    return outs | _made(image) | (published or UNPUBLISHED).to_outputs()


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


def delete_owned(image_id: str, props: Props) -> None:
    """Let go of the AMI: kept for a rollback, left to others, or deleted. May be repeated.

    Another account's AMI is left as it is.
    """
    if is_foreign(props):
        return
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
        regions=tuple(get_copies(props)),
    )
    if not list_held(aws, lineage):  # The end of the resource, and of what it ever began.
        remove_abandoned(aws, lineage)
