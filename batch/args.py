"""What `GpuBatch` is told: typed arguments, each usable with another resource's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pulumi import Input

Market = Literal["spot", "on-demand"]


@dataclass(frozen=True, kw_only=True)
class JobArgs:
    """What one job asks of its machine. All of it can be overridden when a job is submitted."""

    command: Sequence[str] = ()
    """The container's command; empty means the image's own."""
    gpus: int = 1
    vcpus: int = 4
    memory_mib: int = 12_288
    """MiB, and less than the machine has: ECS and the kernel keep some (g5.xlarge: 16 GiB)."""
    timeout_minutes: int = 120
    """Batch ends an attempt that runs longer."""
    attempts: int = 3
    """Tries in all, 1-10; only a lost host is tried again, a job that fails by itself is not."""


@dataclass(frozen=True, kw_only=True)
class AmiContent:
    """How much is in an AMI, in bytes; estimates will do."""

    image_bytes: float
    """Of the job's container images, unpacked."""
    model_bytes: float
    snapshot_bytes: float
    """Both, with the base system: what a new volume is loaded with."""
    is_whole: bool = True
    """False where some of it is not known and counts as 0."""


@dataclass(frozen=True, kw_only=True)
class GpuBatchArgs:
    """The AMI, the image that is in it, where machines start, and how many."""

    ami_id: Input[str]
    """The AMI of every machine. A new one updates the compute environment in place."""
    ami_family: Input[Literal["al2023", "al2"]] = "al2023"
    """Which Amazon Linux the AMI is; Batch wants to know it as the environment's image type."""
    ami_content: Input[AmiContent | None] | None = None
    """For one line that says how long a job takes to start from it; without this nothing does."""
    image_uri: Input[str]
    """`repository@sha256:digest`, exactly as it was pulled into the AMI: the ECS agent takes the
    cached image only where the whole string is the same."""
    region: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_ids: Sequence[Input[str]] = ()
    """They must let 443 out, to ECR, ECS, SSM and S3; nothing in is needed. None: one is made."""
    vpc_id: Input[str] | None = None
    """Where a security group is made when none is given; without it, in the default VPC."""
    root_volume_gib: int = 30
    root_device: str = "/dev/xvda"
    """The AMI's root device; `/dev/xvda` on Amazon Linux 2 and 2023."""
    models_folder: str = "/opt/ml/models"
    """Folder of the AMI that jobs see under the same name, read-only."""
    instance_types: Sequence[str] = ("g5.xlarge", "g5.2xlarge")
    spot: bool = True
    min_vcpus: int = 0
    max_vcpus: int = 16
    on_demand_max_vcpus: int = 0
    """Beside spot: vCPUs of a second, on-demand environment that the queue turns to when the first
    is full or has no capacity. 0: there is none."""
    allocation_strategy: str | None = None
    """Batch's name of a strategy; None takes the one that suits the market best. With `BEST_FIT`
    Batch cannot update an environment in place: each new AMI makes another one."""
    service_role: Input[str] | None = None
    """ARN of a role for Batch instead of its service-linked one; has the same consequence."""
    terminate_jobs_on_update: bool = False
    job_minutes_on_update: int = 30
    """Minutes, 1-360, that running jobs get when the environment moves to a new AMI."""
    volume_initialization_rate: int | Literal["auto", "off"] = "auto"
    """MiB/s, 100-300, at which EBS loads a new root volume from the snapshot; see `volumes`."""
    fast_snapshot_restore_zones: Sequence[str] = ()
    """Availability zones in which the AMI's snapshot is kept ready, at $0.75 an hour each. Only
    with `volume_initialization_rate="off"`: EBS lets a rate win, and bills both."""
    snapshot_id: Input[str] | None = None
    """The AMI's snapshot; needed for fast snapshot restore."""
    encryption_key: Input[str] | None = None
    """ARN of the customer key that the AMI is encrypted with. The roles that start machines for
    Batch get grants on it."""
    volume_iops: int = 3000
    volume_throughput: int = 250
    """MiB/s of the gp3 root volume, 125-2000."""
    log_retention_days: int = 30
    job: JobArgs = JobArgs()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot work together: ValueError names both arguments."""
        if self.fast_snapshot_restore_zones and self.volume_initialization_rate != "off":
            raise ValueError(
                "fast_snapshot_restore_zones and volume_initialization_rate exclude each other: "
                "EBS would use the rate and bill fast snapshot restore all the same. Take the "
                'zones away, or set volume_initialization_rate="off"'
            )
        if self.fast_snapshot_restore_zones and self.snapshot_id is None:
            raise ValueError("fast_snapshot_restore_zones needs snapshot_id, the AMI's snapshot")
        if self.on_demand_max_vcpus and not self.spot:
            raise ValueError(
                "on_demand_max_vcpus is for a second environment behind a spot one, but spot is "
                "False: raise max_vcpus instead"
            )
        most = max(self.max_vcpus, self.on_demand_max_vcpus)
        if self.job.vcpus > most:
            raise ValueError(
                f"job.vcpus is {self.job.vcpus}, but max_vcpus lets an environment have {most}: "
                f"the job would wait for ever. Ask for fewer, or raise max_vcpus"
            )
        if self.spot and self.allocation_strategy == "BEST_FIT":
            raise ValueError(
                'allocation_strategy="BEST_FIT" would start spot machines through a spot fleet '
                "with a role of its own, which this component does not make: set spot=False, or "
                "leave the strategy out"
            )

    def markets(self) -> list[Market]:
        """The market of each environment, in the queue's order."""
        if not self.spot:
            return ["on-demand"]
        return ["spot", "on-demand"] if self.on_demand_max_vcpus else ["spot"]
