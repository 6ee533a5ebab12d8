"""What an AMI's snapshots keep of its bake in their tags: its manifest, and where its logs are.

The AMI itself has `/etc/baked-ami/manifest.json`, but only a machine booted from it can read that;
the tags can be read by everyone who may look at the snapshots.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from ami_provider import tags
from ami_provider.fingerprint import canonical_json

MANIFEST = tags.PREFIX + "manifest/"
"""Tags of a snapshot: the manifest as canonical JSON, deflated, in base64, in parts."""
LOGS = tags.PREFIX + "logs"
"""Tag of a snapshot: where in S3 the steps' logs of this content are."""
LONGEST = 256
"""Characters of a tag's value."""
TAGS = 50
"""Tags that EC2 takes on one thing."""


def to_tags(
    manifest: Mapping[str, Any], *, logs: str = "", others: int, spare: int = 0
) -> dict[str, str]:
    """Tags that keep the manifest, or none of it where it needs more than are free.

    `others` is how many tags the snapshot has besides, `spare` how many stay free for later. Three
    tags do for an image and five models, twenty for fifty models.
    """
    kept = {LOGS: logs} if 0 < len(logs) <= LONGEST else {}
    packed = zlib.compress(canonical_json(manifest).encode("ascii"), 9)
    text = base64.b64encode(packed).decode("ascii")
    parts = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]
    if others + len(kept) + len(parts) + spare > TAGS:
        parts = []
    named = kept | {f"{MANIFEST}{n}": part for n, part in enumerate(parts)}
    return named if others + len(named) <= TAGS else {}


def read_manifest(found: Mapping[str, str]) -> dict[str, Any] | None:
    """The manifest in a snapshot's tags; None where it was not kept, or not whole."""
    parts: list[str] = []
    while (part := found.get(f"{MANIFEST}{len(parts)}")) is not None:
        parts.append(part)
    try:
        read = json.loads(zlib.decompress(base64.b64decode("".join(parts), validate=True)))
    except (ValueError, zlib.error):
        return None
    return read if isinstance(read, dict) else None


def list_manifest_keys(found: Mapping[str, str]) -> list[str]:
    """The tags that keep the manifest: what may go where a user's own tags need the room."""
    return sorted(key for key in found if key.startswith(MANIFEST))
