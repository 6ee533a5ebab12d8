"""AWS Batch on GPU machines that start from a baked AMI: a component that needs only its ID."""

from batch.args import GpuBatchArgs, JobArgs
from batch.component import GpuBatch

__all__ = ["GpuBatch", "GpuBatchArgs", "JobArgs"]
