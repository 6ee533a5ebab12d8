"""What an image is: the recipe as it is given, checked without any AWS call. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ami_provider.contents import ContainerImage, Frozen, Model, check_key_name, find_clashes
from ami_provider.faults import Path, refuse

BaseUpdate = Literal["with-content", "always", "never"]
Family = Literal["al2023", "al2"]

OPTIMIZED = "/aws/service/ecs/optimized-ami"
BASE_ALIASES: dict[str, tuple[str, Family]] = {
    "al2023-gpu": (f"{OPTIMIZED}/amazon-linux-2023/gpu/recommended/image_id", "al2023"),
    "al2-gpu": (f"{OPTIMIZED}/amazon-linux-2/gpu/recommended/image_id", "al2"),
}
"""Base AMIs by short name: the SSM parameter AWS publishes them under, and their family."""

MAX_SCRIPT_BYTES = 32 * 1024
"""Longest extra step. SSM refuses a document with its parameters beyond 64 KiB."""


class BaseAmi(Frozen):
    """The AMI a bake starts from: an alias, an SSM parameter's name, or an AMI ID.

    `family` is needed only where the AMI's own name does not say it (a private base AMI).
    """

    source: str = "al2023-gpu"
    family: Family | None = None

    @field_validator("source")
    @classmethod
    def _known(cls, value: str) -> str:
        is_parameter = re.fullmatch(r"/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", value)
        if value in BASE_ALIASES or is_parameter or re.fullmatch(r"ami-[0-9a-f]{8,17}", value):
            return value
        raise ValueError(
            f"{value!r} is not a base AMI. Give {' or '.join(BASE_ALIASES)}, the name of an SSM "
            f"parameter (/aws/service/…), or an AMI ID (ami-…)."
        )


class ExtraStep(Frozen):
    """A bash script of the user's own, run as root on the builder after images and models."""

    name: Annotated[str, Field(max_length=64)]
    script: str

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
            raise ValueError(f"{value!r} is not a step name: lower-case words joined by '-'.")
        return value

    @field_validator("script")
    @classmethod
    def _unix_text(cls, value: str) -> str:
        text = value.replace("\r\n", "\n")  # A checkout on Windows bakes the same image.
        if not text.strip():
            raise ValueError("is empty. Remove the step or give it something to do.")
        if len(text.encode()) > MAX_SCRIPT_BYTES:
            raise ValueError(
                f"has {len(text.encode())} bytes, SSM takes {MAX_SCRIPT_BYTES}. Put the bulk into "
                f"an S3 object and fetch it as a model."
            )
        return text

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()


class AgentSettings(Frozen):
    """The ECS agent's configuration, written to /etc/ecs/ecs.config.

    `start_timeout_s` is how long Docker may take to start a container (the agent's own 3 min are
    short for a big image on a cold volume; it takes 45 s at least). `extra` holds further `ECS_*`
    settings; those that Batch sets at boot, and credentials, are refused.
    """

    gpu_support: bool = True
    image_pull_behavior: Literal["default", "always", "once", "prefer-cached"] = "prefer-cached"
    spot_draining: bool = True
    start_timeout_s: int = Field(default=600, ge=45, le=3600)
    extra: dict[str, str] = Field(default_factory=dict)

    @field_validator("extra")
    @classmethod
    def _allowed(cls, value: dict[str, str]) -> dict[str, str]:
        found = [((key,), why) for key, text in value.items() for why in _agent_faults(key, text)]
        if found:
            raise refuse(*found)
        return dict(sorted(value.items()))


OWN_INPUTS = {
    "ECS_ENABLE_GPU_SUPPORT": "gpu_support",
    "ECS_IMAGE_PULL_BEHAVIOR": "image_pull_behavior",
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "spot_draining",
    "ECS_CONTAINER_START_TIMEOUT": "start_timeout_s",
}


def _agent_faults(key: str, text: str) -> Iterator[str]:
    if not re.fullmatch(r"ECS_[A-Z0-9_]+", key):
        yield "is not a setting of the ECS agent: their names start with ECS_."
    if key == "ECS_CLUSTER":
        yield "is set by Batch at boot. Leave it out."
    if key in ("ECS_ENGINE_AUTH_DATA", "ECS_ENGINE_AUTH_TYPE"):
        yield "puts a credential into the AMI. Use the machine's role instead."
    if key in OWN_INPUTS:
        yield f"has an input of its own: {OWN_INPUTS[key]}."
    if re.search(r"[\x00-\x1f\x7f]", text):
        yield "holds a line break or control character, which would end the setting."


class SystemUpdate(Frozen):
    """Whether packages are updated, and which are held back.

    The default holds the kernel and NVIDIA's packages: a driver and a kernel that do not belong
    together leave a machine without its GPU.
    """

    enabled: bool = True
    hold: tuple[str, ...] = ("cuda*", "kernel*", "libnvidia*", "nvidia*")

    @field_validator("hold")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed = re.compile(r"[A-Za-z0-9._+*?-]+")
        bad = [
            ((i,), f"{name!r} is not a package name or pattern.")
            for i, name in enumerate(value)
            if not allowed.fullmatch(name)
        ]
        if bad:
            raise refuse(*bad)
        return tuple(sorted(set(value)))


class RootVolume(Frozen):
    """The AMI's root volume. Size in GiB, throughput in MiB/s; limits are EBS's for the type."""

    size_gib: Annotated[int, Field(ge=1, le=65536)] = 30
    type: Literal["gp3", "gp2", "io2", "io1"] = "gp3"
    iops: Annotated[int, Field(ge=100, le=256000)] | None = None
    throughput: Annotated[int, Field(ge=125, le=2000)] | None = None

    @model_validator(mode="after")
    def _fits_the_type(self) -> Self:
        found = [((field,), why) for field, why in _volume_faults(self)]
        if found:
            raise refuse(*found)
        return self


IOPS_PER_GIB = {"gp3": 500, "io1": 50, "io2": 1000}
MOST_IOPS = {"io1": 64000}
"""EBS user guide, "EBS volume types"; gp3's first 3,000 IOPS are there whatever its size."""


def _volume_faults(volume: RootVolume) -> Iterator[tuple[str, str]]:
    kind, iops, throughput = volume.type, volume.iops, volume.throughput
    if kind in ("io1", "io2") and iops is None:
        yield "iops", f"is required for {kind}."
    if kind == "gp2" and iops is not None:
        yield "iops", "cannot be set for gp2; use gp3."
    if kind != "gp3" and throughput is not None:
        yield "throughput", f"cannot be set for {kind}; use gp3."
    if kind == "gp3" and iops is not None and not 3000 <= iops <= 80000:
        yield "iops", f"must be 3000 to 80000 for gp3, not {iops}."
    most = MOST_IOPS.get(kind)
    if most and iops is not None and iops > most:
        yield "iops", f"must be at most {most} for {kind}, not {iops}."
    ratio = IOPS_PER_GIB.get(kind)
    if ratio and iops is not None and iops > max(ratio * volume.size_gib, 3000 * (kind == "gp3")):
        yield (
            "iops",
            f"{iops} needs size_gib of at least {-(-iops // ratio)}: EBS takes at most {ratio} "
            f"IOPS for each GiB of {kind}, and this volume has {volume.size_gib}.",
        )
    if kind == "gp3" and throughput is not None and throughput > max(iops or 3000, 3000) / 4:
        yield "throughput", f"{throughput} MiB/s needs iops of at least {throughput * 4} on gp3."
    if kind in ("gp2", "io1") and volume.size_gib > 16384:
        yield "size_gib", f"must be at most 16384 for {kind}, not {volume.size_gib}."


class ImageRecipe(Frozen):
    """What the image is. Every field here, and nothing else, decides its fingerprint.

    `encryption_key` is a KMS key's ID, ARN or alias for the AMI's snapshots.
    """

    base: BaseAmi = BaseAmi()
    images: Annotated[tuple[ContainerImage, ...], Field(min_length=1)]
    models: tuple[Model, ...] = ()
    extra_steps: tuple[ExtraStep, ...] = ()
    agent: AgentSettings = AgentSettings()
    system_update: SystemUpdate = SystemUpdate()
    root_volume: RootVolume = RootVolume()
    encryption_key: str | None = None

    @field_validator("base", mode="before")
    @classmethod
    def _base_by_name(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value

    @field_validator("images")
    @classmethod
    def _different_images(cls, value: tuple[ContainerImage, ...]) -> tuple[ContainerImage, ...]:
        found: list[tuple[Path, str]] = [
            ((i,), f"is the same as images[{value.index(image)}]; remove one.")
            for i, image in enumerate(value)
            if value.index(image) != i
        ]
        if found:
            raise refuse(*found)
        return value

    @field_validator("models")
    @classmethod
    def _own_places(cls, value: tuple[Model, ...]) -> tuple[Model, ...]:
        found = [
            ((i, "destination"), why)
            for i, why in find_clashes(
                [(f"models[{n}]", m.destination, m.is_prefix) for n, m in enumerate(value)]
            )
        ]
        if found:
            raise refuse(*found)
        return value

    @field_validator("extra_steps")
    @classmethod
    def _different_names(cls, value: tuple[ExtraStep, ...]) -> tuple[ExtraStep, ...]:
        names = [step.name for step in value]
        found: list[tuple[Path, str]] = [
            ((i, "name"), f"{name!r} is the name of extra_steps[{names.index(name)}] too.")
            for i, name in enumerate(names)
            if names.index(name) != i
        ]
        if found:
            raise refuse(*found)
        return value

    @field_validator("encryption_key")
    @classmethod
    def _names_a_key(cls, value: str | None) -> str | None:
        if value is not None:
            check_key_name(value)
        return value
