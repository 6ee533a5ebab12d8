"""Bakes AMIs of different content beside each other in one process, for `packer.py`.

`one_bake.py NAME HOW_MANY VERIFY BASE_AMI` bakes in the cloud that the environment names.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ami_provider.aws import Aws
from ami_provider.bake import bake
from ami_provider.recipe import AgentSettings, SystemUpdate
from ami_provider.resolved import ResolvedBase, ResolvedImage, ResolvedRecipe
from ami_provider.site import BuildSite, Lineage

SUBNET, GROUP = "subnet-0a10ca10000000001", "sg-0a10ca1000000000f"


def main() -> None:
    name, how_many, verify, base_id = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    aws = Aws(os.environ["AWS_REGION"])
    base = look_up(aws, base_id)
    with ThreadPoolExecutor(how_many) as pool:
        for done in [pool.submit(make, aws, base, f"{name}-{n}", verify) for n in range(how_many)]:
            done.result()


def look_up(aws: Aws, base_id: str) -> ResolvedBase:
    """The base AMI, as Packer looks up its own too."""
    (found,) = aws.ec2.describe_images(ImageIds=[base_id])["Images"]
    return ResolvedBase(
        source="al2023-gpu",
        ami_id=base_id,
        name=found.get("Name", ""),
        family="al2023",
        architecture=found.get("Architecture", "x86_64"),
        root_device=found.get("RootDeviceName", "/dev/xvda"),
        size_gib=30,
    )


def make(aws: Aws, base: ResolvedBase, name: str, verify: str) -> None:
    """One AMI; the image is by digest, so that nothing is left to look up."""
    registry = f"123456789012.dkr.ecr.{aws.region}.amazonaws.com"
    recipe = ResolvedRecipe(
        base=base,
        images=(ResolvedImage(repository=f"{registry}/one", digest=f"sha256:{'a' * 64}"),),
        agent=AgentSettings(extra={"ECS_INSTANCE_ATTRIBUTES": json.dumps({"made-by": name})}),
        system_update=SystemUpdate(enabled=False),
    )
    site = BuildSite(
        region=aws.region,
        subnet_ids=(SUBNET,),
        security_group_ids=(GROUP,),
        instance_profile="builder",
        verify=verify,
    )
    lineage = Lineage(project="benchmark", stack="bench", name=name, urn=f"urn:{name}")
    bake(recipe, site, lineage, aws=aws, report=lambda _text: None)


if __name__ == "__main__":
    main()
