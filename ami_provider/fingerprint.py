"""An image's identity: a hash of its readable manifest. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FINGERPRINT_VERSION = 1
"""Part of every fingerprint: raising it rebuilds every AMI of every user.

Raise it when the same manifest must give another image from now on: a field changed its meaning,
or the provider's own steps put something else into the image that the old images lack and jobs
need. Do not raise it for a new optional field (leave it out of the manifest at its default), a
faster or better explained step, or anything outside the image.
"""

Manifest = Mapping[str, Any]


def fingerprint(manifest: Manifest) -> str:
    """64 hexadecimal digits, the same on every machine and Python for the same content."""
    text = f"baked-ami {FINGERPRINT_VERSION}\n{canonical_json(manifest)}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def content_fingerprint(manifest: Manifest, base_source: str) -> str:
    """As `fingerprint`, with what the base AMI was asked for by in place of the AMI found.

    Two images that share it differ at most in how new their base AMI is.
    """
    return fingerprint({**manifest, "base": {"source": base_source}})


def canonical_json(value: object) -> str:
    """JSON with one spelling: sorted keys, no blanks, ASCII, whole numbers without a point."""
    return json.dumps(
        whole_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )


def whole_numbers(value: Any) -> Any:
    """The same data with every float that is whole as an int (Pulumi sends 30 as 30.0)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_numbers(item) for item in value]
    return value
