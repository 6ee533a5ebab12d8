"""AWS Batch on GPU machines that start from a baked AMI: a component that needs only its ID."""

from batch.args import AmiContent, GpuBatchArgs, JobArgs
from batch.component import GpuBatch

__all__ = ["AmiContent", "GpuBatch", "GpuBatchArgs", "JobArgs"]
