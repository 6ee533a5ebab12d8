"""The typed inputs of a baked AMI as a Pulumi program writes them. Every value may be an Output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from inspect import isawaitable
from typing import Any, Literal

from pulumi import Input, Output


@dataclass(frozen=True, kw_only=True)
class BaseAmiArgs:
    """The AMI to start from."""

    source: Input[str] = "al2023-gpu"
    """`al2023-gpu`, `al2-gpu`, the name of an SSM parameter, or an AMI ID."""
    family: Input[Literal["al2023", "al2"]] | None = None
    """Only for a base AMI whose own name does not say which Amazon Linux it is."""


@dataclass(frozen=True, kw_only=True)
class ContainerImageArgs:
    """A container image to have in the AMI. Give `tag` or `digest`."""

    repository: Input[str]
    """`ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME`, such as an ECR repository's `repository_url`."""
    tag: Input[str] | None = None
    """Resolved to its digest at each preview: pushing another image under it rebuilds."""
    digest: Input[str] | None = None
    """`sha256:` and 64 hexadecimal digits: never changes by itself."""


@dataclass(frozen=True, kw_only=True)
class ModelArgs:
    """A model file, or all files below an S3 prefix, to have in the AMI."""

    source: Input[str]
    """`s3://bucket/key`, `s3://bucket/prefix/` (ends in `/`) or an http(s) URL."""
    destination: Input[str]
    """The file's absolute path on the image; the folder, for a prefix."""
    sha256: Input[str] | None = None
    """The file's SHA-256. Required for http(s) unless `checksums` is given."""
    checksums: Input[str] | None = None
    """http(s) only: the URL of a checksum file in `sha256sum`'s format that names the file."""


@dataclass(frozen=True, kw_only=True)
class ExtraStepArgs:
    """A bash script of your own, run as root after images and models. Steps run in their order."""

    name: Input[str]
    """Lower-case words joined by `-`."""
    script: Input[str]
    """The script's text, at most 32 KiB. It may run twice, so let it look before it acts."""


@dataclass(frozen=True, kw_only=True)
class AgentSettingsArgs:
    """The ECS agent's settings on machines booted from the AMI."""

    gpu_support: Input[bool] = True
    image_pull_behavior: Input[Literal["default", "always", "once", "prefer-cached"]] = (
        "prefer-cached"
    )
    """`prefer-cached` starts jobs from the baked image; it also switches image clean-up off."""
    spot_draining: Input[bool] = True
    """The agent takes no new task once its spot machine has its interruption notice."""
    start_timeout_s: Input[int] = 600
    """How long a container may take to start (45-3600): reads of a cold volume are slow."""
    extra: Input[Mapping[str, Input[str]]] | None = None
    """Further `ECS_*` settings."""


@dataclass(frozen=True, kw_only=True)
class SystemUpdateArgs:
    """Whether the system's packages are updated in the bake."""

    enabled: Input[bool] = True
    hold: Input[Sequence[Input[str]]] | None = None
    """Package patterns that stay as the base AMI has them; by default kernel, NVIDIA and CUDA."""


@dataclass(frozen=True, kw_only=True)
class RootVolumeArgs:
    """The AMI's root volume."""

    size_gib: Input[int] = 30
    type: Input[Literal["gp3", "gp2", "io2", "io1"]] = "gp3"
    iops: Input[int] | None = None
    throughput: Input[int] | None = None
    """MiB/s, gp3 only."""


@dataclass(frozen=True, kw_only=True)
class ImageRecipeArgs:
    """What the image is. A change of content here, and nothing else, bakes another AMI."""

    images: Input[Sequence[Input[ContainerImageArgs]]]
    models: Input[Sequence[Input[ModelArgs]]] | None = None
    base: Input[str] | BaseAmiArgs = "al2023-gpu"
    extra_steps: Input[Sequence[Input[ExtraStepArgs]]] | None = None
    agent: AgentSettingsArgs | None = None
    system_update: SystemUpdateArgs | None = None
    root_volume: RootVolumeArgs | None = None
    encryption_key: Input[str] | None = None
    """A KMS key's ID, ARN or alias for the AMI's snapshots."""


@dataclass(frozen=True, kw_only=True)
class CopyArgs:
    """A copy of the AMI in another region."""

    region: Input[str]
    encryption_key: Input[str] | None = None
    """A KMS key of that region; required where the recipe encrypts the AMI."""


@dataclass(frozen=True, kw_only=True)
class PublicationArgs:
    """Who else may use the AMI, where else it is, until when. A change here is made in place.

    All of it holds for the copies too. What is not given is left as it is in EC2; what was given
    and is taken out, is taken back. Several stacks may publish the AMI that they share: it is then
    shared with all accounts, copied to all regions, and keeps the latest date.
    """

    share_with: Input[Sequence[Input[str]]] | None = None
    """Account IDs that may launch machines of it. Exactly these: others lose it (`[]`: nobody)."""
    share_snapshots: Input[bool] | None = None
    """Let these accounts copy the AMI too, by sharing its snapshots with them."""
    copies: Input[Sequence[Input[CopyArgs]]] | None = None
    """Regions that get a copy: an AMI and its snapshots, tagged, and deleted with the AMI."""
    deprecate_after_days: Input[int] | None = None
    """Days after its creation from which the AMI counts as out of date, 1 to 3650."""
    deprecate_at: Input[str] | None = None
    """The same as a date, `2027-05-01` or `2027-05-01T12:00Z`, UTC."""
    deregistration_protection: Input[bool] | None = None
    """Nobody can deregister the AMI but this program, which lifts the protection (it has no
    cool-down) to replace or destroy it. To keep an AMI from `pulumi destroy` use
    `ResourceOptions(protect=True)`."""


@dataclass(frozen=True, kw_only=True)
class TimeoutsArgs:
    """Minutes for each stage of a bake, 1 to 1440; what is not given has a default."""

    capacity: Input[int] | None = None
    """Finding a machine, over all types and subnets (15)."""
    ready: Input[int] | None = None
    """From launch to the SSM agent answering (10)."""
    update: Input[int] | None = None
    """The system update (30)."""
    pull: Input[int] | None = None
    """Pulling all container images (60)."""
    models: Input[int] | None = None
    """Downloading all models (60)."""
    step: Input[int] | None = None
    """Every other step, each (15)."""
    image: Input[int] | None = None
    """From CreateImage to an available AMI (180)."""
    verify: Input[int] | None = None
    """Booting a machine from the AMI and checking it (30)."""


@dataclass(frozen=True, kw_only=True)
class BuildSiteArgs:
    """Where and how to bake. A change here never rebuilds the AMI."""

    region: Input[str]
    subnet_ids: Input[Sequence[Input[str]]]
    """Tried in this order. The builder needs a way out to 443 there."""
    security_group_ids: Input[Sequence[Input[str]]]
    """No inbound rule is needed."""
    instance_profile: Input[str]
    """Name or ARN; its role may use SSM, pull the images and read the models."""
    instance_types: Input[Sequence[Input[str]]] | None = None
    """Tried in this order, each in every subnet; by default `g5.xlarge`."""
    capacity: Input[Literal["spot", "spot-then-on-demand", "on-demand"]] | None = None
    timeouts: TimeoutsArgs | None = None
    verify: Input[str] | None = None
    """`on` boots the AMI and checks it, `off` does not; or the machine type to check it on."""
    smoke_command: Input[str] | None = None
    """Run by `sh -c` in the first image on the verifying machine; if it fails, so does the AMI."""
    volume_initialization_rate: Input[int | Literal["auto", "off"]] | None = None
    """MiB/s (100-300) at which EBS loads the volume that is verified; `auto`: 300 from 8 GiB on."""
    debug: Input[bool] | None = None
    """Keep the builder, and show every command and its output."""
    logs: Input[str] | None = None
    """`s3://bucket/prefix/`: the builder puts every step's whole log there; its role must be let
    (`BuilderAccess(logs=...)`). Without it they are fetched into a local file when a step fails."""
    incremental: Input[int] | None = None
    """How many bakes in a row may start from the AMI before, where only images, models or agent
    settings changed: they pull what is missing, remove what is gone, and verification shows that
    nothing else is there (0, always from the base AMI, by default; 1 to 100)."""
    on_failure: Input[Literal["cleanup", "keep"]] | None = None
    base_update: Input[Literal["with-content", "always", "never"]] | None = None
    """When a newer base AMI is taken: with the next change of content, at once, or never."""


async def find_secrets(value: Any, path: tuple[str, ...] = ()) -> list[list[str]]:
    """The paths of the values in plain data that are secret; a list's parts go by number."""
    if isinstance(value, Output):
        if await value.is_secret():
            return [list(path)]
        value = await value.future(with_unknowns=True)
    if isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(str(number), item) for number, item in enumerate(value)]
    else:
        return []
    return [found for key, item in parts for found in await find_secrets(item, (*path, key))]


def to_inputs(value: Any) -> Any:
    """Args as the plain data that Pulumi sends; what was not given is left out.

    Outputs stay Outputs: of plain data, whatever args they turn out to hold.
    """
    if isinstance(value, Output):
        return value.apply(to_inputs)
    if isawaitable(value):
        return Output.from_input(value).apply(to_inputs)
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: to_inputs(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: to_inputs(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_inputs(item) for item in value]
    return value
