"""The Batch component in a program of its own: an AMI's ID goes in, a queue comes out."""

import pulumi

from batch import GpuBatch, GpuBatchArgs, JobArgs

config = pulumi.Config()
gpu = GpuBatch(
    "gpu",
    GpuBatchArgs(
        ami_id=config.require("amiId"),
        image_uri=config.require("imageUri"),
        region=pulumi.Config("aws").require("region"),
        subnet_ids=[config.require("subnetId")],
        vpc_id=config.require("vpcId"),  # a security group is made there: 443 out, nothing in
        instance_types=["g5.xlarge"],
        max_vcpus=16,
        spot=config.get_bool("spot") is not False,
        allocation_strategy=config.get("allocationStrategy"),
        job=JobArgs(vcpus=4, memory_mib=1024, gpus=1, attempts=2),
        tags={"project": pulumi.get_project()},
    ),
)
pulumi.export("environment", gpu.compute_environment_arn)
pulumi.export("queue", gpu.job_queue_arn)
pulumi.export("job", gpu.job_definition_arn)
