"""The resource's properties by who says them: what the program's own process has to know. Pure."""

from __future__ import annotations

from typing import Any

Props = dict[str, Any]

GIVEN = (
    "recipe", "site", "tags", "keep", "publication", "trusted_owners", "lineage", "secret_inputs"
)  # fmt: skip
DERIVED = ("fingerprint", "images", "manifest", "region", "resolved", "sizes")
"""What a check adds to the inputs. They are inputs so that a preview knows them."""
OUTPUTS = (
    "ami_id",
    "ami_name",
    "copies",
    "fingerprint",
    "images",
    "manifest",
    "model_checksums",
    "owner_id",
    "published",
    "region",
    "sizes",
    "snapshot_ids",
)
"""What programs see of it."""
OWN = (
    "ami_id",
    "ami_name",
    "copies",
    "drift",
    "model_checksums",
    "owner_id",
    "owner_nonce",
    "published",
    "snapshot_ids",
    "state",
)
"""What only the AMI itself says."""
