"""Whether an AMI can be baked from the lineage's last one: a table of reasons against it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ami_provider import tags
from ami_provider.fingerprint import canonical_json

GIB = "gib"
DIFFERENCES = {
    "base": "the base AMI is another one",
    "update": "the system update is another one",
    "steps": "the extra steps are others",
    "key": "the encryption key is another one",
    "own": "this version of the program has other steps",
}
"""What both AMIs must have in common, and what is said where they have not."""


def describe_basis(manifest: Mapping[str, Any], scripts: Mapping[str, str]) -> str:
    """What the AMI's tag says: a few digits for each thing, and the volume's size in GiB.

    `scripts` are the bake's own steps: what another version of them did to an earlier AMI, nobody
    takes back. Images, models and agent settings are not in it, nor the volume's type and speed,
    which a launch gives.
    """
    own = {k: v for k, v in scripts.items() if k[0].isdigit() or k in ("lib.sh", "fetch-model.sh")}
    parts = {
        "base": manifest["base"],
        "update": manifest["system_update"],
        "steps": manifest["extra_steps"],
        "key": manifest.get("encryption_key"),
        "own": own,
    }
    told = {key: _digits(value) for key, value in parts.items()}
    told[GIB] = str(manifest["root_volume"]["size_gib"])
    return " ".join(f"{key}={value}" for key, value in told.items())


def _digits(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def read_generation(noted: Mapping[str, str]) -> int:
    """How many incremental bakes an AMI with these tags is away from a full one."""
    text = noted.get(tags.GENERATION, "0")
    return int(text) if text.isdecimal() else 0


def find_obstacle(
    noted: Mapping[str, str], state: str, *, basis: str, limit: int, verify: str
) -> str | None:
    """Why nothing may be baked from the AMI with these tags and this state; None if it may.

    `basis` is the new AMI's own, `limit` the most incremental bakes in a row.
    """
    before = read_generation(noted)
    reasons = {
        "verification is off, which would show that nothing else is in it": verify == "off",
        f"it is {state}": state != "available",
        "it is not verified": noted.get(tags.VERIFIED) != tags.VERIFIED_YES,
        "a bake from it was not the same as from scratch": tags.REFUSED in noted,
        "it was baked by a version that could not do this": tags.BASIS not in noted,
        f"{before} were made since the last full bake": before >= limit,
    }
    given = next((reason for reason, holds in reasons.items() if holds), None)
    return given or _find_difference(noted[tags.BASIS], basis)


def _find_difference(old: str, new: str) -> str | None:
    was, now = _read(old), _read(new)
    for key, reason in DIFFERENCES.items():
        if was.get(key) != now.get(key):
            return reason
    smaller = int(now[GIB]) < int(was.get(GIB, "0"))
    return f"its root volume has {was[GIB]} GiB, and none shrinks" if smaller else None


def _read(basis: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in basis.split())
