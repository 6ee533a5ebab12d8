"""What a bake gives: the AMI, new or found, with what is known of its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ami_provider import tags
from ami_provider.checksums import find_checksums
from ami_provider.course import MODELS
from ami_provider.errors import BakeError
from ami_provider.image_state import Image
from ami_provider.job import Job
from ami_provider.resolved import ResolvedRecipe
from ami_provider.wishes import find_record

SELF = "self"
"""As EC2 calls the caller's own account among owners."""


@dataclass(frozen=True, kw_only=True)
class BakedImage:
    """An AMI that is available, checked (unless that is off) and owned.

    `owner_nonce` is this claim on it, which `delete_ami` asks for; empty for another account's AMI
    (`owner_id` is that account), which nobody here owns. `told` is what the builder's steps found
    out (`45-fetch-models` has each model's SHA-256); empty for an AMI that was adopted.
    `timings` holds seconds by stage, `warnings` what the reader must still be told (a machine that
    could not be ended). `is_published`: an earlier run noted on it what this resource asked for.
    """

    ami_id: str
    name: str
    fingerprint: str
    snapshot_ids: tuple[str, ...]
    adopted: bool
    owner_nonce: str
    owner_id: str = SELF
    image_digests: dict[str, str] = field(default_factory=dict)
    model_checksums: dict[str, str] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    is_published: bool = False
    warnings: tuple[str, ...] = ()


def to_own_image(
    job: Job,
    image: Image,
    told: dict[str, Any],
    nonce: str,
    checksums: dict[str, str],
    *,
    adopted: bool,
) -> BakedImage:
    """This account's AMI, as it is now that this resource owns it."""
    return BakedImage(
        ami_id=image.id,
        name=image.name,
        fingerprint=job.fingerprint,
        snapshot_ids=image.snapshot_ids,
        adopted=adopted,
        owner_nonce=nonce,
        image_digests=_list_digests(job.recipe),
        model_checksums=checksums,
        told=told,
        timings=dict(job.stages.timings),
        is_published=bool(find_record(image.tags, tags.get_owner_key(job.lineage))),
        warnings=tuple(job.stages.warnings),
    )


def to_shared_image(job: Job, shared: Mapping[str, str]) -> BakedImage:
    """Another account's AMI, which is used and never owned."""
    return BakedImage(
        ami_id=shared["ami_id"],
        name=shared["ami_name"],
        fingerprint=job.fingerprint,
        snapshot_ids=(),
        adopted=True,
        owner_nonce="",
        owner_id=shared["owner_id"],
        image_digests=_list_digests(job.recipe),
        model_checksums=_list_given_checksums(job.recipe),
    )


def read_checksums(job: Job, image: Image, told: Mapping[str, Any]) -> dict[str, str]:
    """Each model's SHA-256 by destination: given, told by the builder, or in the snapshot's tags.

    A failure comes before the AMI is owned: it is good, and stays for the next run.
    """
    known = _list_given_checksums(job.recipe)
    found = told.get(MODELS.name, {}).get("models", {})
    try:
        return {**known, **(found or find_checksums(job.aws, job.recipe, image.snapshot_ids))}
    except BakeError as error:
        error.brief = f"the AMI {image.id} is left, the next `pulumi up` takes it: {error.brief}"
        raise


def _list_digests(recipe: ResolvedRecipe) -> dict[str, str]:
    return {image.repository: image.digest for image in recipe.images}


def _list_given_checksums(recipe: ResolvedRecipe) -> dict[str, str]:
    return {model.destination: model.sha256 for model in recipe.models if model.sha256}
