"""What a fresh local cloud holds: a container image that runs, and a bucket with a few models."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from local_cloud.errors import AwsError
from local_cloud.registry import Registry, Scope
from local_cloud.registry.images import find_image, put_image
from local_cloud.registry.layers import bulk_content
from local_cloud.sample_image import NO_BUSYBOX, Blob, canonical, find_busybox, make_image
from local_cloud.services.s3 import put_object, put_object_in_parts

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

REPOSITORY = "batch-processor"
TAG = "latest"
BUCKET = "local-ml-models"
#: The smallest part that S3 takes, but for the last one.
PART_MIB = 5

Checksum = Literal["sha256", "none", "multipart"]


@dataclass(frozen=True, kw_only=True)
class SeedModel:
    """One model: its share of the models' total size, and how its checksum is kept in S3.

    `sha256` of the whole object, `none`, or `multipart`: uploaded in parts of 5 MiB, which leaves
    a checksum of the parts' checksums.
    """

    key: str
    share: float
    checksum: Checksum


MODELS = (
    SeedModel(key="models/detector.pt", share=0.25, checksum="sha256"),
    SeedModel(key="models/classifier.onnx", share=0.25, checksum="none"),
    SeedModel(key="models/embedder.safetensors", share=0.5, checksum="multipart"),
)


def seed(
    cloud: Cloud,
    *,
    image_mib: int | None = None,
    models_mib: int | None = None,
    models: tuple[SeedModel, ...] = MODELS,
) -> None:
    """Put the image and the models into the cloud's home account and region.

    What is there already stays as it is. The sizes are the image's before compression and the
    models' together; without them LOCAL_CLOUD_IMAGE_MB and LOCAL_CLOUD_MODELS_MB, then 8 and 12.
    The content depends on nothing but the sizes and the machine's busybox. Memory: a few MiB.
    Raises ValueError for a size that is no number.
    """
    image_size = _size("LOCAL_CLOUD_IMAGE_MB", image_mib, default=8)
    models_size = _size("LOCAL_CLOUD_MODELS_MB", models_mib, default=12)
    seed_image(cloud, mib=image_size)
    seed_models(cloud, models, mib=models_size)


def seed_image(cloud: Cloud, *, mib: int) -> None:
    """The repository `batch-processor` with the tag `latest`, unless it has one."""
    registry: Registry = cloud.registry
    scope = Scope(account=cloud.account, region=cloud.region)
    if REPOSITORY not in registry.catalogue.repositories(scope):
        registry.catalogue.create(scope, REPOSITORY)
    if find_image(registry.catalogue.get(scope, REPOSITORY), TAG) is not None:
        return
    if cloud.real and find_busybox() is None:
        cloud.say(NO_BUSYBOX)

    def store(pieces: Iterator[bytes]) -> Blob:
        upload = registry.blobs.start_upload()
        upload.append(pieces)
        digest = registry.catalogue.add_layer(scope, REPOSITORY, upload, digest=None)
        return Blob(digest=digest, size=upload.size)

    manifest = canonical(make_image(store, bulk_mib=mib))
    put_image(registry.catalogue, scope, REPOSITORY, manifest, tag=TAG)


def seed_models(cloud: Cloud, models: tuple[SeedModel, ...], *, mib: int) -> None:
    """The bucket `local-ml-models` with those models that it does not hold yet."""
    _call(cloud, "CreateBucket", CreateBucketConfiguration={"LocationConstraint": cloud.region})
    for number, model in enumerate(models):
        try:
            _call(cloud, "HeadObject", Key=model.key)
            continue
        except AwsError as error:
            if error.status != 404:
                raise
        size = max(1, round(mib * model.share))
        pieces = bulk_content(size, seed=1000 + number)
        if model.checksum == "multipart":
            parts = (itertools.islice(pieces, PART_MIB) for _ in range(-(-size // PART_MIB)))
            put_object_in_parts(cloud, BUCKET, model.key, parts, checksum="SHA256")
        else:
            checksum = "SHA256" if model.checksum == "sha256" else None
            put_object(cloud, BUCKET, model.key, pieces, checksum=checksum)


def _call(cloud: Cloud, action: str, **params: object) -> dict[str, str]:
    try:
        return cloud.moto.invoke(
            "s3", action, {"Bucket": BUCKET, **params}, region=cloud.region, account=cloud.account
        )
    except AwsError as error:
        if error.code == "BucketAlreadyOwnedByYou":
            return {}
        raise


def _size(name: str, given: int | None, *, default: int) -> int:
    if given is not None:
        return given
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise ValueError(f"{name}={text!r} is not a whole number of MiB, such as 64")
    return int(text)
