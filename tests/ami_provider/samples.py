"""Inputs and resolved recipes that the tests of this room start from."""

from __future__ import annotations

import copy
from typing import Any, Final

from ami_provider.resolved import ResolvedBase, ResolvedImage, ResolvedModel, ResolvedRecipe

ACCOUNT = "123456789012"
REGION: Final = "ap-northeast-2"
REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/batch-processor"

RECIPE: dict[str, Any] = {
    "images": [{"repository": REPOSITORY, "tag": "latest"}],
    "models": [
        {"source": "s3://local-ml-models/models/yolo.pt", "destination": "/opt/ml/models/yolo.pt"}
    ],
}
SITE: dict[str, Any] = {
    "region": REGION,
    "subnet_ids": ["subnet-0a10ca10000000001"],
    "security_group_ids": ["sg-0a10ca1000000000f"],
    "instance_profile": "builder",
}
LINEAGE = {"project": "baked-ami", "stack": "local", "name": "gpu", "urn": "urn:pulumi:local::x"}


def inputs() -> dict[str, Any]:
    """Inputs as Pulumi sends them, for a test to change."""
    return copy.deepcopy({"recipe": RECIPE, "site": SITE, "tags": {}, "lineage": LINEAGE})


def resolved() -> ResolvedRecipe:
    return ResolvedRecipe(
        base=ResolvedBase(
            source="al2023-gpu",
            ami_id="ami-00000000000000001",
            name="al2023-ami-ecs-gpu-hvm-2023.0.1-x86_64-ebs",
            family="al2023",
            architecture="x86_64",
            root_device="/dev/xvda",
            size_gib=30,
        ),
        images=(
            ResolvedImage(repository=REPOSITORY, digest=f"sha256:{'a' * 64}", tag="latest"),
            ResolvedImage(repository=f"{REPOSITORY}-2", digest=f"sha256:{'b' * 64}"),
        ),
        models=(
            ResolvedModel(source="s3://m/a.pt", destination="/opt/ml/a.pt", sha256="1" * 64),
            ResolvedModel(
                source="s3://m/b.pt",
                destination="/opt/ml/b.pt",
                version_id="v1",
                etag="e" * 32,
                size_bytes=5,
            ),
        ),
    )
