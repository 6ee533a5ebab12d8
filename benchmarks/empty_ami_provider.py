"""A stand-in for `ami_provider` whose dynamic provider does nothing: what the engine itself costs.

benchmarks/preview.py puts this file in the package's place in a copy of the program.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Anything:
    """Takes what any of the real argument classes takes, and keeps nothing."""

    def __init__(self, **given: object) -> None:
        del given


BaseAmiArgs = BuildSiteArgs = ContainerImageArgs = CopyArgs = ImageRecipeArgs = Anything
ModelArgs = PublicationArgs = RootVolumeArgs = SystemUpdateArgs = TimeoutsArgs = Anything


class EmptyProvider(ResourceProvider):
    """Creates by naming a constant; checks, compares and looks up nothing."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["ami_id"], props)


class BakedAmi(Resource):
    """The real resource's outputs, all of them constants from the environment."""

    ami_id: pulumi.Output[str]
    ami_name: pulumi.Output[str]
    fingerprint: pulumi.Output[str]
    manifest: pulumi.Output[dict[str, Any]]
    images: pulumi.Output[list[dict[str, str]]]
    snapshot_ids: pulumi.Output[list[str]]
    sizes: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, **given: object) -> None:
        del given
        super().__init__(EmptyProvider(), name, json.loads(os.environ["BENCHMARK_AMI"]))
