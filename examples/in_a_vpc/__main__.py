"""The whole in an existing VPC: its subnets are looked up, a group with 443 out is made in it."""

import pulumi
from pulumi_aws import ec2

from ami_provider import BakedAmi, BuildSiteArgs, ContainerImageArgs, ImageRecipeArgs, ModelArgs
from ami_provider.access import BuilderAccess
from batch import GpuBatch, GpuBatchArgs
from batch.network import create_way_out

get, region = pulumi.Config().require, pulumi.Config("aws").require("region")
vpc, repository, models = get("vpcId"), get("repositoryUrl"), get("models")
subnets = ec2.get_subnets(filters=[{"name": "vpc-id", "values": [vpc]}]).ids
tags = {"project": pulumi.get_project(), "stack": pulumi.get_stack()}
groups = [create_way_out("https-out", vpc_id=vpc, tags=tags)]
builder = BuilderAccess("builder", repositories=[repository], models=[models], tags=tags)
ami = BakedAmi(
    "gpu",
    recipe=ImageRecipeArgs(
        images=[ContainerImageArgs(repository=repository, tag="latest")],
        models=[ModelArgs(source=models, destination="/opt/ml/models/")],
    ),
    site=BuildSiteArgs(
        region=region,
        subnet_ids=subnets,
        security_group_ids=groups,
        instance_profile=builder.instance_profile,
    ),
    tags=tags,
)
gpu = GpuBatch(
    "gpu",
    GpuBatchArgs(
        ami_id=ami.ami_id,
        image_uri=ami.images.apply(lambda images: images[0]["uri"]),
        region=region,
        subnet_ids=subnets,
        security_group_ids=groups,
        on_demand_max_vcpus=8,
        tags=tags,
    ),
)
pulumi.export("amiId", ami.ami_id)
pulumi.export("environments", gpu.compute_environment_arns)
pulumi.export("queue", gpu.job_queue_arn)
pulumi.export("job", gpu.job_definition_arn)
