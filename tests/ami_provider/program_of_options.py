"""One AMI with the resource options and the secrets that PROGRAM asks for: run by a test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pulumi

from ami_provider import BakedAmi, BuildSiteArgs, ContainerImageArgs, ImageRecipeArgs
from ami_provider.resource import AgentSettingsArgs, ExtraStepArgs, ModelArgs, SystemUpdateArgs

asked: dict[str, Any] = json.loads(os.environ["PROGRAM"])
"""`options` are the resource's; `secret` says that every text of the recipe and the site is one."""
REPOSITORY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor"
mark: Callable[[Any], Any] = pulumi.Output.secret if asked.get("secret") else lambda text: text
extra = {name: mark(text) for name, text in asked.get("extra", {}).items()}


class Team(pulumi.ComponentResource):
    """What a team wraps its resources in."""

    def __init__(self) -> None:
        super().__init__("tests:index:Team", "team")


if not asked.get("gone"):
    options: dict[str, Any] = dict(asked.get("options", {}))
    if asked.get("parent"):
        options["parent"] = Team()
    ami = BakedAmi(
        asked.get("name", "own"),
        recipe=ImageRecipeArgs(
            images=[ContainerImageArgs(repository=mark(REPOSITORY), tag="latest")],
            models=[
                ModelArgs(
                    source=mark("s3://local-ml-models/models/detector.pt"),
                    destination=mark("/opt/ml/models/weights.pt"),
                )
            ],
            extra_steps=[ExtraStepArgs(name="content", script=mark(asked.get("script", "true")))],
            agent=AgentSettingsArgs(extra=extra),
            system_update=SystemUpdateArgs(enabled=False),
        ),
        site=BuildSiteArgs(
            region="ap-northeast-2",
            subnet_ids=["subnet-0a10ca10000000001"],
            security_group_ids=["sg-0a10ca1000000000f"],
            instance_profile="builder",
            logs=mark(asked["logs"]) if "logs" in asked else None,
        ),
        tags={name: mark(text) for name, text in asked.get("tags", {}).items()},
        opts=pulumi.ResourceOptions(**options),
    )
    pulumi.export("amiId", ami.ami_id)
    pulumi.export("manifest", ami.manifest)
    pulumi.export("images", ami.images)
