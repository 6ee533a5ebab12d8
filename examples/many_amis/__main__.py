"""The AMIs that the environment asks for: BAKES has JSON, a resource's name -> what is in it."""

import json
import os

import pulumi

from ami_provider import (
    BakedAmi,
    BuildSiteArgs,
    ContainerImageArgs,
    ExtraStepArgs,
    ImageRecipeArgs,
    SystemUpdateArgs,
)

SITE = json.loads(os.environ.get("BAKES_SITE", "{}"))
IMAGE = f"123456789012.dkr.ecr.{os.environ['AWS_REGION']}.amazonaws.com/batch-processor"

for name, script in json.loads(os.environ["BAKES"]).items():
    ami = BakedAmi(
        name,
        recipe=ImageRecipeArgs(
            images=[ContainerImageArgs(repository=IMAGE, tag="latest")],
            extra_steps=[ExtraStepArgs(name="content", script=script)],
            system_update=SystemUpdateArgs(enabled=False),
        ),
        site=BuildSiteArgs(
            **{
                "region": os.environ["AWS_REGION"],
                "subnet_ids": ["subnet-0a10ca10000000001", "subnet-0a10ca10000000002"],
                "security_group_ids": ["sg-0a10ca1000000000f"],
                "instance_profile": "builder",
            }
            | SITE
        ),
    )
    pulumi.export(name, ami.ami_id)
