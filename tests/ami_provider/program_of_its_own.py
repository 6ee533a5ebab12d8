"""A program whose image and model come into being in the same update as the AMI: run by a test."""

from __future__ import annotations

from typing import Any

import boto3
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

from ami_provider import BakedAmi, BuildSiteArgs, ContainerImageArgs, ImageRecipeArgs, ModelArgs


class Upload(ResourceProvider):
    """What a build before it does: a repository with an image, a bucket with a model."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        from tests.program.changes import copy_image

        ecr, s3 = boto3.client("ecr"), boto3.client("s3")
        made = ecr.create_repository(repositoryName="of-this-program")["repository"]
        copy_image(ecr, "batch-processor", "latest", "of-this-program")
        place: Any = {"LocationConstraint": s3.meta.region_name}
        s3.create_bucket(Bucket="of-this-program", CreateBucketConfiguration=place)
        s3.put_object(
            Bucket="of-this-program", Key="m.pt", Body=b"model", ChecksumAlgorithm="SHA256"
        )
        url = made["repositoryUri"]
        return CreateResult("upload", {"repository_url": url, "bucket": "of-this-program"})


class Uploaded(Resource):
    repository_url: pulumi.Output[str]
    bucket: pulumi.Output[str]

    def __init__(self, name: str) -> None:
        super().__init__(Upload(), name, {"repository_url": None, "bucket": None})


def list_images(url: str) -> list[ContainerImageArgs]:
    """Args may come out of an Output as well as hold some, as the model's do."""
    return [ContainerImageArgs(repository=url, tag="latest")]


uploaded = Uploaded("uploaded")
source = pulumi.Output.concat("s3://", uploaded.bucket, "/m.pt")
ami = BakedAmi(
    "own",
    recipe=ImageRecipeArgs(
        images=uploaded.repository_url.apply(list_images),
        models=[ModelArgs(source=source, destination="/opt/ml/models/m.pt")],
    ),
    site=BuildSiteArgs(
        region="ap-northeast-2",
        subnet_ids=[pulumi.Config().require("subnetId")],
        security_group_ids=["sg-0a10ca1000000000f"],
        instance_profile="builder",
    ),
)
pulumi.export("amiId", ami.ami_id)
