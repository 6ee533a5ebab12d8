"""What `GpuBatch` is told: typed arguments, each usable with another resource's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pulumi import Input


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
class GpuBatchArgs:
    """The AMI, the image that is in it, where machines start, and how many."""

    ami_id: Input[str]
    """The AMI of every machine. A new one updates the compute environment in place."""
    ami_family: Input[Literal["al2023", "al2"]] = "al2023"
    """Which Amazon Linux the AMI is; Batch wants to know it as the environment's image type."""
    image_uri: Input[str]
    """`repository@sha256:digest`, exactly as it was pulled into the AMI: the ECS agent takes the
    cached image only where the whole string is the same."""
    region: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_ids: Sequence[Input[str]]
    """They must let 443 out, to ECR, ECS, SSM and S3; nothing in is needed."""
    root_volume_gib: int = 30
    root_device: str = "/dev/xvda"
    """The AMI's root device; `/dev/xvda` on Amazon Linux 2 and 2023."""
    models_folder: str = "/opt/ml/models"
    """Folder of the AMI that jobs see under the same name, read-only."""
    instance_types: Sequence[str] = ("g5.xlarge", "g5.2xlarge")
    spot: bool = True
    min_vcpus: int = 0
    max_vcpus: int = 16
    terminate_jobs_on_update: bool = False
    job_minutes_on_update: int = 30
    """Minutes, 1-360, that running jobs get when the environment moves to a new AMI."""
    volume_initialization_rate: int | Literal["auto", "off"] = "auto"
    """MiB/s, 100-300, at which EBS loads a new root volume from the snapshot; see `volumes`."""
    volume_iops: int = 3000
    volume_throughput: int = 250
    """MiB/s of the gp3 root volume, 125-2000."""
    log_retention_days: int = 30
    job: JobArgs = JobArgs()
    tags: Mapping[str, str] = field(default_factory=dict)
