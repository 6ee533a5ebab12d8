"""Everything that a stack may say under `baked-ami:`, section by section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.shapes import (
    AccountId,
    Address,
    BaseAmi,
    Bucket,
    Destination,
    Digest,
    GroupId,
    KeyArn,
    KmsKey,
    LogPlace,
    MachineType,
    Minutes,
    ModelSource,
    Moment,
    Rate,
    Region,
    Repository,
    RetentionDays,
    Sha256,
    SubnetId,
    Tag,
    Verify,
    VpcId,
    Zone,
)

MODELS_FOLDER = "/opt/ml/models"


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Model(_Section):
    """One model: an S3 object, an S3 prefix (ending in `/`) or an HTTP(S) file."""

    source: ModelSource
    destination: Destination | None = None
    checksums: Address | None = None
    sha256: Sha256 | None = Field(None, validate_default=True)

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


class Timeouts(_Section):
    """Minutes that each stage of a bake may take; None leaves the bake's own default."""

    capacity: Minutes | None = None
    ready: Minutes | None = None
    update: Minutes | None = None
    pull: Minutes | None = None
    models: Minutes | None = None
    step: Minutes | None = None
    image: Minutes | None = None
    verify: Minutes | None = None


class Build(_Section):
    """Where and how the AMI is baked. Nothing here changes the AMI, so nothing rebakes it."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge", "g4dn.xlarge"), min_length=1, max_length=20
    )
    capacity: Literal["spot", "spot-then-on-demand", "on-demand"] = "spot-then-on-demand"
    verify: Verify = "on"
    volume_initialization_rate: Rate = "auto"
    smoke_command: str | None = Field(None, min_length=1, max_length=4096)
    timeouts: Timeouts = Timeouts()
    debug: bool = False
    logs: LogPlace | None = None
    on_failure: Literal["cleanup", "keep"] = "cleanup"


class Batch(_Section):
    """The compute environment that starts machines from the AMI."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge"), min_length=1, max_length=20
    )
    capacity: Literal["spot", "on-demand"] = "spot"
    min_vcpus: int = Field(0, ge=0)
    max_vcpus: int = Field(16, ge=1, le=10_000)
    on_demand_max_vcpus: int = Field(0, ge=0, le=10_000)
    terminate_jobs_on_update: bool = False
    job_minutes_on_update: int = Field(30, ge=1, le=360)
    volume_initialization_rate: Rate = "auto"
    fast_snapshot_restore_zones: tuple[Zone, ...] = Field((), max_length=10)
    volume_iops: int = Field(3000, ge=3000, le=80_000)
    volume_throughput: int = Field(250, ge=125, le=2000)
    log_retention_days: RetentionDays = 30

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


class Job(_Section):
    """What one job asks of its machine."""

    command: tuple[str, ...] = ()
    gpus: int = Field(1, ge=0, le=16)
    vcpus: int = Field(4, ge=1, le=192)
    memory_mib: int = Field(12_288, ge=4)
    timeout_minutes: int = Field(120, ge=1, le=20_160)
    attempts: int = Field(3, ge=1, le=10)


class Copy(_Section):
    """A region that gets a copy of the AMI."""

    region: Region
    encryption_key: KmsKey | None = None


class Publication(_Section):
    """Who else may use the AMI, where else it is, until when. Nothing here rebakes it."""

    share_with: tuple[AccountId, ...] | None = Field(None, max_length=40)
    share_snapshots: bool = False
    copies: tuple[Copy, ...] = Field((), max_length=10)
    deprecate_after_days: int | None = Field(None, ge=1, le=3650)
    deprecate_at: Moment | None = None
    deregistration_protection: bool | None = None

    @field_validator("deprecate_at")
    @classmethod
    def _one_date(cls, date: str | None, info: ValidationInfo) -> str | None:
        if date and info.data.get("deprecate_after_days"):
            raise ValueError("is given beside deprecateAfterDays; keep one of the two")
        return date


class Settings(_Section):
    """Everything that a stack may say under `baked-ami:`. Pulumi.example.yaml explains each."""

    region: str = Field(alias="aws:region", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    repository_url: Repository
    image_tag: Tag | None = None
    image_digest: Digest | None = None
    subnet_ids: tuple[SubnetId, ...] = Field(min_length=1)
    vpc_id: VpcId | None = None
    security_group_ids: tuple[GroupId, ...] = Field((), validate_default=True)
    models_bucket: Bucket | None = None
    models: tuple[Model, ...] = ()
    base_ami: BaseAmi = "al2023-gpu"
    base_family: Literal["al2023", "al2"] | None = None
    base_update: Literal["with-content", "always", "never"] = "with-content"
    system_update: bool = True
    root_volume_gib: int = Field(30, ge=8, le=65_536)
    keep: int = Field(0, ge=0, le=100)
    encryption_key: KeyArn | None = None
    build: Build = Build()
    batch: Batch = Batch()
    job: Job = Job()
    publication: Publication | None = None
    trusted_owners: tuple[AccountId, ...] = Field((), max_length=40)
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("image_digest")
    @classmethod
    def _one_version(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if digest and info.data.get("image_tag"):
            raise ValueError("is given beside imageTag; keep one of the two")
        return digest

    @field_validator("security_group_ids")
    @classmethod
    def _one_network(cls, groups: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        vpc = info.data.get("vpc_id", "faulty itself")
        if groups and vpc:
            raise ValueError("is given beside vpcId, which is for stacks without groups; keep one")
        if not groups and not vpc:
            raise ValueError(
                "is required, for example [sg-0a1b2c3d4e5f60718]; or give vpcId, and a group with "
                "port 443 out and nothing in is made there"
            )
        return groups

    @property
    def family(self) -> Literal["al2023", "al2"]:
        """The Amazon Linux of the base AMI: as said, else as its name says, else AL2023."""
        if self.base_family:
            return self.base_family
        old = self.base_ami == "al2-gpu" or "/amazon-linux-2/" in self.base_ami
        return "al2" if old else "al2023"

    def all_models(self) -> tuple[Model, ...]:
        """The bucket's `models/` prefix, where a bucket is named, and every model of the list."""
        if self.models_bucket is None:
            return self.models
        return (
            Model(source=f"s3://{self.models_bucket}/models/", destination=f"{MODELS_FOLDER}/"),
            *self.models,
        )


SECTIONS: dict[str, type[BaseModel]] = {
    "build": Build,
    "timeouts": Timeouts,
    "batch": Batch,
    "job": Job,
    "models": Model,
    "publication": Publication,
    "copies": Copy,
}
"""The model behind each key that holds a map, or a list of maps."""
