"""Takes a resource's AMIs along to its new name: an alias, another stack or project, a parent.

Owner tags are named by a hash of the URN, so what they keep has to move where that changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.image_state import get_state, remove_tags, set_tags
from ami_provider.ownership import list_held
from ami_provider.site import Lineage
from ami_provider.wishes import find_record


def move_claims(aws: Aws, old: Lineage, new: Lineage, *image_ids: str) -> None:
    """Move claims, what is kept and what was asked to be published, on every AMI of the resource.

    `image_ids` are AMIs that the state knows, which a search may not see yet. What an AMI has of
    the new name's already is newer, and stays. May be repeated; an AMI that it has not come to is
    still the old name's. Raises `BakeError`.
    """
    if tags.get_owner_key(old) == tags.get_owner_key(new):
        return
    held = list_held(aws, old)
    for image_id in image_ids:
        image = get_state(aws, image_id)
        if image is not None:
            held[image_id] = image
    for image in held.values():
        moved = dict(_rename(image.tags, old, new))
        if moved:
            named = {new_key: image.tags[old_key] for old_key, new_key in moved.items()
                     if new_key not in image.tags}  # fmt: skip
            if image.tags.get(tags.LINEAGE) == tags.get_path(old):
                named[tags.LINEAGE] = tags.get_path(new)
            if named:
                set_tags(aws, (image.id,), named)
            remove_tags(aws, image.id, *moved)


def _rename(found: dict[str, str], old: Lineage, new: Lineage) -> Iterator[tuple[str, str]]:
    """Old and new names of the tags that are the resource's own."""
    own = [tags.get_owner_key(old), tags.get_keep_key(old)]
    own += find_record(found, tags.get_owner_key(old))
    was, now = (tags.get_owner_key(one).removeprefix(tags.OWNER) for one in (old, new))
    for key in own:
        if key in found:
            yield key, key.replace(was, now)
