"""What a fresh local cloud holds: a container image that runs, and a bucket with a few models."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

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
#: Sizes without any setting: of the image before compression, of the models together.
IMAGE_MIB = 8
MODELS_MIB = 12
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
    image_size = _size("LOCAL_CLOUD_IMAGE_MB", image_mib, default=IMAGE_MIB)
    models_size = _size("LOCAL_CLOUD_MODELS_MB", models_mib, default=MODELS_MIB)
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


@click.group()
def main() -> None:
    """Change what a running local cloud holds, through AWS_ENDPOINT_URL alone."""


@main.command("push-image")
@click.option("--repository", default=REPOSITORY, show_default=True)
@click.option("--tag", default=TAG, show_default=True)
@click.option("--note", required=True, help="Text in the image: another text, another digest.")
@click.option("--mib", type=click.IntRange(0), default=IMAGE_MIB, show_default=True)
@click.option("--oci", is_flag=True, help="An OCI manifest instead of Docker's.")
def push_image_command(repository: str, tag: str, note: str, mib: int, oci: bool) -> None:
    """Push another sample image under a tag, and print its digest."""
    from local_cloud.push import PushError, push_image

    endpoint, ecr = _client("ecr")
    try:
        digest = push_image(
            ecr, endpoint, repository=repository, tag=tag, note=note, mib=mib, oci=oci
        )
    except PushError as error:
        raise click.ClickException(str(error)) from None
    click.echo(digest)


@main.command("put-model")
@click.option("--bucket", default=BUCKET, show_default=True)
@click.option("--key", default=MODELS[0].key, show_default=True)
@click.option("--note", required=True, help="Text at the model's start: other text, other bytes.")
@click.option("--mib", type=click.IntRange(0), default=3, show_default=True)
@click.option("--checksum", type=click.Choice(["sha256", "none"]), default="sha256")
def put_model_command(bucket: str, key: str, note: str, mib: int, checksum: str) -> None:
    """Put other bytes under a model's key, and print their SHA-256."""
    import hashlib
    import tempfile

    _, s3 = _client("s3")
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for piece in itertools.chain([note.encode() + b"\n"], bulk_content(mib, seed=2000)):
            digest.update(piece)
            file.write(piece)
        file.seek(0)
        more = {"ChecksumAlgorithm": "SHA256"} if checksum == "sha256" else {}
        s3.put_object(Bucket=bucket, Key=key, Body=file, **more)
    click.echo(digest.hexdigest())


def _client(service: str) -> tuple[str, Any]:
    import boto3
    from botocore.config import Config

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        raise click.ClickException(
            "AWS_ENDPOINT_URL is not set: start a cloud with `python -m local_cloud serve` and "
            "set it to the endpoint that is printed"
        )
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    region = os.environ.get("AWS_REGION", "ap-northeast-2")
    plain = Config(request_checksum_calculation="when_required")
    return endpoint, boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=region,
        config=plain,
    )


if __name__ == "__main__":
    main(prog_name="python -m local_cloud.seed")
