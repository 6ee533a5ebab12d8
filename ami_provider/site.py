"""Where and how an image is baked: nothing here changes what the image is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from ami_provider.contents import BUCKET, Frozen
from ami_provider.faults import Path, refuse
from ami_provider.recipe import BaseUpdate, Family

Minutes = Annotated[int, Field(ge=1, le=1440)]


Rate = Annotated[int, Field(ge=100, le=300)]
MAX_TAGS = 35
"""Of EC2's 50: the rest is for a bake's own (identity, progress, owners)."""


class Timeouts(Frozen):
    """Minutes allowed for each stage of a bake.

    `image` is generous: snapshots of big volumes have taken hours (amazon-eks-ami #1871).
    """

    capacity: Minutes = 15  # finding a machine, over all types and subnets
    ready: Minutes = 10  # from launch to the SSM agent answering
    update: Minutes = 30  # the system update step
    pull: Minutes = 60  # pulling all container images
    models: Minutes = 60  # downloading all models
    step: Minutes = 15  # every other step, each
    image: Minutes = 180  # from CreateImage to an available AMI
    verify: Minutes = 30  # booting a machine from the AMI and checking it


class BuildSite(Frozen):
    """Where and how to bake. A change here updates the resource in place; it never rebuilds.

    `instance_types` and `subnet_ids` are tried in the order given, each type in each subnet.
    `instance_profile` is a name or ARN; its role lets the builder use SSM, pull from ECR and
    read the models. `verify`: `on` boots the AMI on the first builder type that can be had,
    `off` does not, any other value is the instance type to boot it on. `smoke_command` is run
    there by `sh -c` in the recipe's first image, with the models' folders read-only at their
    places: the AMI is refused unless it exits with 0 within five minutes. `logs` is where in S3
    (`s3://bucket/prefix/`) the builder puts every step's whole log; without it they are fetched
    when a step fails. `volume_initialization_rate` is the MiB/s (100-300) at which EBS loads the
    verifier's volume, `auto` or `off`. `incremental` is how many bakes may in a row start from the
    lineage's last AMI, where only images, models or agent settings changed; with 0 none does.
    `tags` go on everything that is made: machines, volumes,
    the AMI and its snapshots.
    """

    region: str
    subnet_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    security_group_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    instance_profile: str
    instance_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("g5.xlarge",)
    capacity: Literal["spot", "spot-then-on-demand", "on-demand"] = "spot-then-on-demand"
    timeouts: Timeouts = Timeouts()
    verify: str = "on"
    smoke_command: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    debug: bool = False
    logs: str | None = None
    volume_initialization_rate: Literal["auto", "off"] | Rate = "auto"
    incremental: Annotated[int, Field(ge=0, le=100)] = 0
    on_failure: Literal["cleanup", "keep"] = "cleanup"
    base_update: BaseUpdate = "with-content"
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("region")
    @classmethod
    def _is_region(cls, value: str) -> str:
        return check_region(value)

    @field_validator("subnet_ids")
    @classmethod
    def _are_subnets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _ids(value, "subnet", "subnet-0a1b2c3d4e5f60718")

    @field_validator("security_group_ids")
    @classmethod
    def _are_groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _ids(value, "sg", "sg-0a1b2c3d4e5f60718")

    @field_validator("instance_types")
    @classmethod
    def _are_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found = [
            ((i,), f"{v!r} is not an instance type such as g5.xlarge.")
            for i, v in enumerate(value)
            if not is_instance_type(v)
        ]
        found += [
            ((i,), f"{v!r} is given twice.") for i, v in enumerate(value) if value.index(v) != i
        ]
        if found:
            raise refuse(*found)
        return value

    @field_validator("instance_profile")
    @classmethod
    def _is_profile(cls, value: str) -> str:
        if re.match(r"arn:aws[\w-]*:iam::\d{12}:role/", value):
            raise ValueError(f"{value!r} is a role. Give the instance profile that holds it.")
        if not re.fullmatch(r"(arn:aws[\w-]*:iam::\d{12}:instance-profile/)?[\w+=,.@/-]+", value):
            raise ValueError(f"{value!r} is not an instance profile's name or ARN.")
        return value

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, value: dict[str, str]) -> dict[str, str]:
        found: list[tuple[Path, str]] = [
            ((key,), why) for key, text in value.items() for why in _tag_faults(key, text)
        ]
        if len(value) > MAX_TAGS:
            found.append(((), f"has {len(value)} tags; at most {MAX_TAGS}, since EC2 takes 50."))
        if found:
            raise refuse(*found)
        return value

    @field_validator("verify")
    @classmethod
    def _is_verify(cls, value: str) -> str:
        if value not in ("on", "off") and not is_instance_type(value):
            raise ValueError(f"{value!r} must be on, off, or an instance type such as g5.xlarge.")
        return value

    @field_validator("logs")
    @classmethod
    def _is_in_s3(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(
            rf"s3://{BUCKET.pattern}(/[\w!.*'()/-]*)?", value
        ):
            raise ValueError(f"{value!r} is not a place in S3 such as s3://my-logs/baked-ami/.")
        return value

    @field_validator("smoke_command")
    @classmethod
    def _can_be_run(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("verify") == "off":
            raise ValueError("is run on the machine that verify boots. Set verify to on.")
        return value


class Retention(Frozen):
    """How many earlier AMIs of a lineage stay for a rollback, beside the current one."""

    keep: Annotated[int, Field(ge=0, le=100)] = 0


class Lineage(Frozen):
    """Whose image this is: successive AMIs of one resource share it.

    `urn` is the resource's URN where Pulumi runs the bake; it owns the AMI in its tags.
    """

    project: str
    stack: str
    name: str
    urn: str = ""

    @field_validator("name")
    @classmethod
    def _fits_an_ami_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
            raise ValueError(
                f"{value!r} becomes part of the AMI's name: letters, digits, '_', '.', '-', "
                f"at most 64."
            )
        return value


def is_region(value: str) -> bool:
    """Whether it has the form of a region's name, such as ap-northeast-2."""
    return bool(re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d", value))


def check_region(value: str) -> str:
    """The region's name, if it has the form of one; raises ValueError otherwise."""
    if not is_region(value):
        raise ValueError(f"{value!r} is not a region such as ap-northeast-2.")
    return value


def is_instance_type(value: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9-]*\d[a-z0-9-]*\.[a-z0-9-]+", value))


def find_undriven(instance_type: str, base: Family) -> str | None:
    """Why a GPU-optimized AMI of this family cannot drive this machine type, or None.

    Source: AWS Batch user guide, `ECS_AL2023_NVIDIA` (no p3, g3, Graviton); g4ad has AMD's GPUs.
    """
    family = instance_type.partition(".")[0]
    if base == "al2023" and re.fullmatch(r"p3(dn)?|g3s?", family):
        return "its GPU is too old for the NVIDIA driver of the AL2023 AMI (al2-gpu drives it)"
    if family == "g4ad":
        return "its GPU is AMD's, not NVIDIA's"
    if family == "a1" or re.fullmatch(r"[a-z]+\d+[a-z]*g[a-z]*", family):
        return "it is a Graviton (arm64) machine and the AMI is for x86_64"
    return None


def _tag_faults(key: str, text: str) -> Iterator[str]:
    if not 1 <= len(key) <= 128:
        yield f"has a name of {len(key)} characters; EC2 takes 1 to 128."
    if key.startswith(("aws:", "baked-ami:")):
        yield "starts with aws: or baked-ami:, which are not for your own tags. Rename it."
    if len(text) > 256:
        yield f"has {len(text)} characters; EC2 takes 256."


def _ids(values: tuple[str, ...], prefix: str, example: str) -> tuple[str, ...]:
    found = [
        ((i,), f"{v!r} is not an ID such as {example}.")
        for i, v in enumerate(values)
        if not re.fullmatch(rf"{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})", v)
    ]
    found += [
        ((i,), f"{v!r} is given twice.") for i, v in enumerate(values) if values.index(v) != i
    ]
    if found:
        raise refuse(*found)
    return values
