"""The sections of a stack's settings: each map, and each entry of a list of maps."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.shapes import (
    AccountId,
    Address,
    Destination,
    KmsKey,
    LogPlace,
    MachineType,
    Minutes,
    ModelSource,
    Moment,
    Rate,
    Region,
    RetentionDays,
    Sha256,
    Verify,
    Zone,
)

MODELS_FOLDER = "/opt/ml/models"


class Section(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True
    )


class Model(Section):
    """One model: an S3 object, an S3 prefix (ending in `/`) or an HTTP(S) file."""

    source: ModelSource
    """An S3 object, an S3 prefix with every file below it (ends in `/`), or an HTTP(S) file."""
    destination: Destination | None = None
    """The file's path on the AMI, or the folder for a prefix's files."""
    checksums: Address | None = None
    """Address of a file in `sha256sum`'s format that has the checksum; instead of `sha256`."""
    sha256: Sha256 | None = Field(None, validate_default=True)
    """What the file must have. Needed for HTTP(S), unless `checksums` is given."""

    def place(self) -> str:
        """Where it goes: the file's path, or the folder for a prefix's files."""
        if self.destination:
            return self.destination
        return f"{MODELS_FOLDER}/{self.source.partition('?')[0].rpartition('/')[2]}"

    @field_validator("sha256")
    @classmethod
    def _pins_one_file(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source", "")
        if source.startswith("http") and not sha256 and not info.data.get("checksums"):
            raise ValueError(f"or checksums is required, because {source} is fetched over HTTP")
        if source.endswith("/") and sha256:
            raise ValueError(f"belongs to a single file, but {source} is a prefix of many")
        return sha256


class Timeouts(Section):
    """Minutes that each stage of a bake may take; what is left out has the default below."""

    capacity: Minutes | None = None
    """Until a machine is launched, of any type in any subnet."""
    ready: Minutes | None = None
    """Until a machine runs and its SSM agent answers."""
    update: Minutes | None = None
    """The system update."""
    pull: Minutes | None = None
    """The pull of the images."""
    models: Minutes | None = None
    """The fetch of the models."""
    step: Minutes | None = None
    """Every other step."""
    image: Minutes | None = None
    """Until the AMI is available. A later `pulumi up` finds one that takes longer."""
    verify: Minutes | None = None
    """The check on a machine booted from the AMI."""


class Build(Section):
    """Where and how the AMI is baked. Nothing here changes the AMI, so nothing rebakes it."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge", "g4dn.xlarge"), min_length=1, max_length=20
    )
    """Builder types, tried in this order in each subnet."""
    capacity: Literal["spot", "spot-then-on-demand", "on-demand"] = "spot-then-on-demand"
    """Spot, on-demand, or spot everywhere first."""
    verify: Verify = "on"
    """Boot the new AMI and check it, on a machine of the first type or of the one named."""
    volume_initialization_rate: Rate = "auto"
    """How fast EBS loads that machine's volume, MiB/s (about $0.0036 a GiB); `auto` is 300 from 8
    GiB of images and models on."""
    smoke_command: str | None = Field(None, min_length=1, max_length=4096)
    """A command for `sh -c` in the container on that machine; a failure refuses the AMI."""
    timeouts: Timeouts = Timeouts()
    """How long each stage may take."""
    incremental: int = Field(0, ge=0, le=100)
    """How many bakes in a row may start from the stack's last AMI, where only images, models or
    agent settings changed; 0: every bake is a full one."""
    debug: bool = False
    """Show every command and all of its output, and say how to get into the builder."""
    logs: LogPlace | None = None
    """Where in S3 the whole log of each step is put, without secrets."""
    on_failure: Literal["cleanup", "keep"] = "cleanup"
    """After a failure: leave nothing, or keep the builder for a look."""


class Batch(Section):
    """The compute environment that starts machines from the AMI."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge"), min_length=1, max_length=20
    )
    """Machine types of the compute environment."""
    capacity: Literal["spot", "on-demand"] = "spot"
    """What its machines are bought as."""
    min_vcpus: int = Field(0, ge=0)
    """vCPUs that are up without any job."""
    max_vcpus: int = Field(16, ge=1, le=10_000)
    """vCPUs that are up at most."""
    on_demand_max_vcpus: int = Field(0, ge=0, le=10_000)
    """vCPUs of a second, on-demand environment that the queue turns to when spot has none; 0 for
    none."""
    terminate_jobs_on_update: bool = False
    """Stop running jobs at once when a new AMI comes."""
    job_minutes_on_update: int = Field(30, ge=1, le=360)
    """Minutes that running jobs get to end when a new AMI comes."""
    volume_initialization_rate: Rate = "auto"
    """How fast EBS loads a new root volume, MiB/s."""
    fast_snapshot_restore_zones: tuple[Zone, ...] = Field((), max_length=10)
    """Zones in which the snapshot is kept ready instead ($0.75 an hour each); only with
    `volumeInitializationRate: off`."""
    volume_iops: int = Field(3000, ge=3000, le=80_000)
    """IOPS of the gp3 root volume."""
    volume_throughput: int = Field(250, ge=125, le=2000)
    """Its throughput, MiB/s."""
    log_retention_days: RetentionDays = 30
    """Days that jobs' logs are kept."""

    @field_validator("max_vcpus")
    @classmethod
    def _room(cls, most: int, info: ValidationInfo) -> int:
        if most < info.data.get("min_vcpus", 0):
            raise ValueError(f"is {most}, below minVcpus {info.data['min_vcpus']}")
        return most

    @field_validator("on_demand_max_vcpus")
    @classmethod
    def _behind_spot(cls, vcpus: int, info: ValidationInfo) -> int:
        if vcpus and info.data.get("capacity") == "on-demand":
            raise ValueError(
                f"is {vcpus}, but capacity is on-demand already: raise maxVcpus instead"
            )
        return vcpus

    @field_validator("fast_snapshot_restore_zones")
    @classmethod
    def _not_with_a_rate(cls, zones: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        rate = info.data.get("volume_initialization_rate", "off")
        if zones and rate != "off":
            raise ValueError(
                f"is given, but volumeInitializationRate is {rate}: EBS would use the rate and "
                f"bill fast snapshot restore all the same; set volumeInitializationRate: off, or "
                f"take the zones away"
            )
        return zones


class Job(Section):
    """What one job asks of its machine."""

    command: tuple[str, ...] = ()
    """The container's command; empty for the image's own."""
    gpus: int = Field(1, ge=0, le=16)
    """GPUs of one job."""
    vcpus: int = Field(4, ge=1, le=192)
    """Its vCPUs."""
    memory_mib: int = Field(12_288, ge=4)
    """Its memory, MiB."""
    timeout_minutes: int = Field(120, ge=1, le=20_160)
    """Minutes after which it is stopped."""
    attempts: int = Field(3, ge=1, le=10)
    """Tries in all, after losses of its machine; a job that fails by itself is not tried again."""


class Copy(Section):
    """A region that gets a copy of the AMI."""

    region: Region
    """Where the copy is, with a snapshot of its own (and its cost)."""
    encryption_key: KmsKey | None = None
    """A KMS key of that region."""


class Publication(Section):
    """Who else may use the AMI, where else it is, until when. Nothing here rebakes it."""

    share_with: tuple[AccountId, ...] | None = Field(None, max_length=40)
    """Accounts that may launch machines of it: exactly these."""
    share_snapshots: bool = False
    """Let them copy it too, by sharing its snapshots."""
    copies: tuple[Copy, ...] = Field((), max_length=10)
    """Regions that get a copy; it goes with the AMI."""
    deprecate_after_days: int | None = Field(None, ge=1, le=3650)
    """Days after its creation from which it counts as out of date."""
    deprecate_at: Moment | None = None
    """Or the date."""
    deregistration_protection: bool | None = None
    """Nobody can deregister it but this program."""

    @field_validator("deprecate_at")
    @classmethod
    def _one_date(cls, date: str | None, info: ValidationInfo) -> str | None:
        if date and info.data.get("deprecate_after_days"):
            raise ValueError("is given beside deprecateAfterDays; keep one of the two")
        return date
