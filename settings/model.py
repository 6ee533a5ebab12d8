"""Everything that a stack may say under `baked-ami:`, and which section is behind which key."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from settings.sections import (
    MODELS_FOLDER,
    Batch,
    Build,
    Copy,
    Job,
    Model,
    Publication,
    Section,
    Timeouts,
)
from settings.shapes import (
    AccountId,
    BaseAmi,
    Bucket,
    Digest,
    GroupId,
    KeyArn,
    Region,
    Repository,
    SubnetId,
    Tag,
    VpcId,
)


class Settings(Section):
    """Everything that a stack may say under `baked-ami:`. Pulumi.example.yaml explains each."""

    region: Region = Field(alias="aws:region")
    """Region of the AMI and of Batch. Required, here or as `AWS_REGION`."""
    repository_url: Repository
    """ECR repository of the container image, without tag or digest."""
    image_tag: Tag | None = None
    """The image by tag, looked up at every preview; without a tag and a digest, `latest`."""
    image_digest: Digest | None = None
    """The image by digest, which never moves; instead of a tag."""
    subnet_ids: tuple[SubnetId, ...] = Field(min_length=1)
    """Subnets of the builder (in this order) and of the Batch machines, with 443 out."""
    vpc_id: VpcId | None = None
    """A VPC in which a group with 443 out and nothing in is made; instead of groups."""
    security_group_ids: tuple[GroupId, ...] = Field((), validate_default=True)
    """Groups of the same machines: 443 out, nothing in. Required, unless `vpcId` is given."""
    models_bucket: Bucket | None = None
    """A bucket whose `models/` prefix goes to `/opt/ml/models`."""
    models: tuple[Model, ...] = ()
    """Further models."""
    base_ami: BaseAmi = "al2023-gpu"
    """The AMI to start from; for an SSM parameter, the AMI that it holds."""
    base_family: Literal["al2023", "al2"] | None = None
    """Its Amazon Linux, where the base AMI's name does not say it."""
    base_update: Literal["with-content", "always", "never"] = "with-content"
    """When a newer base AMI rebakes: only together with another change, always, never."""
    system_update: bool = True
    """Update the system's packages while baking, but kernel and NVIDIA's."""
    root_volume_gib: int = Field(30, ge=8, le=65_536)
    """Root volume of the AMI and of every machine, GiB."""
    keep: int = Field(0, ge=0, le=100)
    """How many earlier AMIs stay after a roll-out, to go back to in seconds."""
    encryption_key: KeyArn | None = None
    """A customer key for the AMI's snapshots."""
    build: Build = Build()
    """Where and how the AMI is baked; no change here rebakes anything."""
    batch: Batch = Batch()
    """The compute environment."""
    job: Job = Field(Job(), validate_default=True)
    """What one job asks for; each can be overridden when a job is submitted."""
    publication: Publication | None = None
    """Who else may use the AMI, where else it is, until when; never rebakes. What is left out is
    left as it is in EC2."""
    trusted_owners: tuple[AccountId, ...] = Field((), max_length=40)
    """Accounts whose shared AMIs of the same content are used instead of a bake."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags on everything that is made."""

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

    @field_validator("job")
    @classmethod
    def _fits(cls, job: Job, info: ValidationInfo) -> Job:
        batch = info.data.get("batch")
        most = max(batch.max_vcpus, batch.on_demand_max_vcpus) if batch else job.vcpus
        if job.vcpus > most:
            raise ValueError(
                f"asks for {job.vcpus} vCPUs (job.vcpus), but its environment has {most} at most "
                f"(batch.maxVcpus), so it would wait for ever: ask for fewer, or raise that"
            )
        return job

    @property
    def family(self) -> Literal["al2023", "al2"]:
        """The Amazon Linux of the base AMI: as said, else as its name says, else AL2023."""
        if self.base_family:
            return self.base_family
        old = self.base_ami == "al2-gpu" or "/amazon-linux-2/" in self.base_ami
        return "al2" if old else "al2023"

    def all_models(self) -> tuple[Model, ...]:
        """Every model of the list, so that faults count as it does, and the bucket's `models/`."""
        if self.models_bucket is None:
            return self.models
        whole = Model(source=f"s3://{self.models_bucket}/models/", destination=f"{MODELS_FOLDER}/")
        return (*self.models, whole)


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
