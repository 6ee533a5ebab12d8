"""The program: settings -> baked AMI -> Batch, and what the stack shows of them."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from ami_provider import (
    BakedAmi,
    BaseAmiArgs,
    BuildSiteArgs,
    ContainerImageArgs,
    CopyArgs,
    ImageRecipeArgs,
    ModelArgs,
    PublicationArgs,
    RootVolumeArgs,
    SystemUpdateArgs,
    TimeoutsArgs,
)
from ami_provider.access import BuilderAccess
from batch import AmiContent, GpuBatch, GpuBatchArgs, JobArgs
from batch.network import create_way_out
from settings import Settings, read_settings


def main() -> None:
    """Everything of one stack, in the order in which it comes to be."""
    settings = read_settings()
    tags = {"project": pulumi.get_project(), "stack": pulumi.get_stack(), **settings.tags}
    groups = settings.security_group_ids or [
        create_way_out("https-out", vpc_id=settings.vpc_id, tags=tags)
    ]
    models = settings.all_models()
    access = BuilderAccess(
        "builder",
        repositories=[settings.repository_url],
        models=[model.source for model in models],
        logs=settings.build.logs,
        tags=tags,
    )
    ami = BakedAmi(
        "gpu",
        recipe=recipe(settings),
        site=site(settings, access, groups),
        publication=publication(settings),
        trusted_owners=list(settings.trusted_owners) or None,
        tags=tags,
        keep=settings.keep,
    )
    gpu = GpuBatch("gpu", batch_args(settings, ami, groups, tags))
    outputs = {
        "amiId": ami.ami_id,
        "amiName": ami.ami_name,
        "fingerprint": ami.fingerprint,
        "manifest": ami.manifest,
        "launchTemplateId": gpu.launch_template_id,
        "launchTemplateVersion": gpu.launch_template_version,
        "computeEnvironmentArn": gpu.compute_environment_arn,
        "jobQueueArn": gpu.job_queue_arn,
        "jobDefinitionArn": gpu.job_definition_arn,
    }
    for name, value in outputs.items():
        pulumi.export(name, value)


def recipe(settings: Settings) -> ImageRecipeArgs:
    """What the image is: a change here bakes another AMI."""
    tag = None if settings.image_digest else settings.image_tag or "latest"
    return ImageRecipeArgs(
        base=BaseAmiArgs(source=settings.base_ami, family=settings.base_family),
        images=[
            ContainerImageArgs(
                repository=settings.repository_url, tag=tag, digest=settings.image_digest
            )
        ],
        models=[
            ModelArgs(
                source=model.source,
                destination=model.place(),
                sha256=model.sha256,
                checksums=model.checksums,
            )
            for model in settings.all_models()
        ],
        system_update=SystemUpdateArgs(enabled=settings.system_update),
        root_volume=RootVolumeArgs(size_gib=settings.root_volume_gib),
        encryption_key=settings.encryption_key,
    )


def site(
    settings: Settings, access: BuilderAccess, groups: Sequence[pulumi.Input[str]]
) -> BuildSiteArgs:
    """Where and how the image is baked: a change here bakes nothing."""
    build = settings.build
    return BuildSiteArgs(
        region=settings.region,
        subnet_ids=list(settings.subnet_ids),
        security_group_ids=list(groups),
        instance_profile=access.instance_profile,
        instance_types=list(build.instance_types),
        capacity=build.capacity,
        timeouts=TimeoutsArgs(**build.timeouts.model_dump(exclude_none=True)),
        verify=build.verify,
        smoke_command=build.smoke_command,
        volume_initialization_rate=build.volume_initialization_rate,
        incremental=build.incremental,
        debug=build.debug,
        logs=build.logs,
        on_failure=build.on_failure,
        base_update=settings.base_update,
    )


def publication(settings: Settings) -> PublicationArgs | None:
    """Who else may use the AMI, where else it is, until when: a change here bakes nothing."""
    asked = settings.publication
    if asked is None:
        return None
    return PublicationArgs(
        share_with=None if asked.share_with is None else list(asked.share_with),
        share_snapshots=asked.share_snapshots,
        copies=[
            CopyArgs(region=copy.region, encryption_key=copy.encryption_key)
            for copy in asked.copies
        ],
        deprecate_after_days=asked.deprecate_after_days,
        deprecate_at=asked.deprecate_at,
        deregistration_protection=asked.deregistration_protection,
    )


def batch_args(
    settings: Settings,
    ami: BakedAmi,
    groups: Sequence[pulumi.Input[str]],
    tags: dict[str, str],
) -> GpuBatchArgs:
    """The AMI's ID and its image's digest, handed on to Batch."""
    environment = settings.batch
    return GpuBatchArgs(
        ami_id=ami.ami_id,
        ami_family=settings.family,
        ami_content=ami.sizes.apply(lambda sizes: AmiContent(**sizes) if sizes else None),
        image_uri=ami.images.apply(lambda images: str(images[0]["uri"])),
        region=settings.region,
        subnet_ids=settings.subnet_ids,
        security_group_ids=groups,
        root_volume_gib=settings.root_volume_gib,
        instance_types=environment.instance_types,
        spot=environment.capacity == "spot",
        min_vcpus=environment.min_vcpus,
        max_vcpus=environment.max_vcpus,
        on_demand_max_vcpus=environment.on_demand_max_vcpus,
        terminate_jobs_on_update=environment.terminate_jobs_on_update,
        job_minutes_on_update=environment.job_minutes_on_update,
        volume_initialization_rate=environment.volume_initialization_rate,
        fast_snapshot_restore_zones=environment.fast_snapshot_restore_zones,
        snapshot_id=ami.snapshot_ids.apply(lambda ids: ids[0])
        if environment.fast_snapshot_restore_zones
        else None,
        encryption_key=settings.encryption_key,
        volume_iops=environment.volume_iops,
        volume_throughput=environment.volume_throughput,
        log_retention_days=environment.log_retention_days,
        job=JobArgs(**settings.job.model_dump()),
        tags=tags,
    )


main()
