"""The component: from an AMI's ID to a queue whose jobs start on machines of that AMI."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import ResourceOptions
from pulumi_aws import batch, cloudwatch, ec2, iam

from batch import documents
from batch.args import GpuBatchArgs
from batch.volumes import initialization_rate

IMAGE_TYPES = {"al2023": "ECS_AL2023_NVIDIA", "al2": "ECS_AL2_NVIDIA"}


class GpuBatch(pulumi.ComponentResource):
    """Everything that Batch needs to run GPU jobs on machines of one AMI.

    Makes an instance role and profile, a log group, a launch template, a managed compute
    environment (with Batch's service-linked role, so that AMIs change in place), a job queue and
    a job definition pinned to the image's digest. All are tagged and children of this resource.
    """

    launch_template_id: pulumi.Output[str]
    launch_template_version: pulumi.Output[int]
    """The version the environment names; never `$Latest`, which Batch does not follow."""
    compute_environment_arn: pulumi.Output[str]
    job_queue_arn: pulumi.Output[str]
    job_definition_arn: pulumi.Output[str]
    """With its revision: a new image or setting makes a new one."""
    log_group_name: pulumi.Output[str]

    def __init__(self, name: str, args: GpuBatchArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("baked-ami:batch:GpuBatch", name, None, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)

        logs = cloudwatch.LogGroup(
            f"{name}-jobs",
            retention_in_days=args.log_retention_days,
            tags=args.tags,
            opts=self._child,
        )
        profile, permissions = self._host_profile(logs)
        template = self._launch_template()
        environment = self._compute_environment(profile, permissions, template)
        queue = batch.JobQueue(
            name,
            priority=1,
            state="ENABLED",
            compute_environment_orders=[{"order": 1, "compute_environment": environment.arn}],
            tags=args.tags,
            opts=self._child,
        )
        job = self._job_definition(logs, environment)

        self.launch_template_id = template.id
        self.launch_template_version = template.latest_version
        self.compute_environment_arn = environment.arn
        self.job_queue_arn = queue.arn
        self.job_definition_arn = job.arn
        self.log_group_name = logs.name
        self.register_outputs(
            {
                "launchTemplateId": template.id,
                "launchTemplateVersion": template.latest_version,
                "computeEnvironmentArn": environment.arn,
                "jobQueueArn": queue.arn,
                "jobDefinitionArn": job.arn,
                "logGroupName": logs.name,
            }
        )

    def _host_profile(
        self, logs: cloudwatch.LogGroup
    ) -> tuple[iam.InstanceProfile, iam.RolePolicy]:
        """What a machine of the environment is allowed: ECS, its image, its log; nothing else."""
        args, name = self._args, f"{self._name}-host"
        role = iam.Role(
            name,
            description="Machines that AWS Batch starts from the baked AMI",
            assume_role_policy=documents.trust("ec2.amazonaws.com"),
            tags=args.tags,
            opts=self._child,
        )
        document = pulumi.Output.all(args.region, args.image_uri, logs.arn).apply(
            lambda known: documents.host_policy(
                region=known[0], image_uri=known[1], log_group_arn=known[2]
            )
        )
        permissions = iam.RolePolicy(name, role=role.name, policy=document, opts=self._child)
        profile = iam.InstanceProfile(name, role=role.name, tags=args.tags, opts=self._child)
        return profile, permissions

    def _launch_template(self) -> ec2.LaunchTemplate:
        """Machine settings that an environment cannot hold: root volume, IMDSv2, tags."""
        args = self._args
        volume: dict[str, Any] = {
            "volume_type": "gp3",
            "volume_size": args.root_volume_gib,
            "iops": args.volume_iops,
            "throughput": args.volume_throughput,
            "delete_on_termination": "true",
        }
        rate = initialization_rate(
            args.volume_initialization_rate,
            instance_types=args.instance_types,
            max_vcpus=args.max_vcpus,
        )
        if rate is not None:
            volume["volume_initialization_rate"] = rate
        elif args.volume_initialization_rate == "auto":
            pulumi.log.warn(
                f"maxVcpus {args.max_vcpus} allows so many machines at once that none of them may "
                f"load its root volume at a set rate; the first reads of a new machine are slow",
                self,
            )
        tags = {"Name": self._name, **args.tags}
        return ec2.LaunchTemplate(
            self._name,
            description="Machines of the baked AMI",
            image_id=args.ami_id,
            update_default_version=True,
            block_device_mappings=[{"device_name": args.root_device, "ebs": volume}],
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 2,  # a job's container is one hop further away
            },
            tag_specifications=[
                {"resource_type": kind, "tags": tags} for kind in ("instance", "volume")
            ],
            tags=args.tags,
            opts=self._child,
        )

    def _compute_environment(
        self,
        profile: iam.InstanceProfile,
        permissions: iam.RolePolicy,
        template: ec2.LaunchTemplate,
    ) -> batch.ComputeEnvironment:
        """No service role and one of the new strategies: only so can Batch update it in place."""
        args = self._args
        image_type = pulumi.Output.from_input(args.ami_family).apply(IMAGE_TYPES.__getitem__)
        update_minutes = args.job_minutes_on_update + 45  # jobs end, machines go, new ones come
        return batch.ComputeEnvironment(
            self._name,
            type="MANAGED",
            state="ENABLED",
            compute_resources={
                "type": "SPOT" if args.spot else "EC2",
                "allocation_strategy": "SPOT_PRICE_CAPACITY_OPTIMIZED"
                if args.spot
                else "BEST_FIT_PROGRESSIVE",
                "min_vcpus": args.min_vcpus,
                "max_vcpus": args.max_vcpus,
                "instance_types": list(args.instance_types),
                "subnets": list(args.subnet_ids),
                "security_group_ids": list(args.security_group_ids),
                "instance_role": profile.arn,
                "ec2_configurations": [
                    {"image_type": image_type, "image_id_override": args.ami_id}
                ],
                "launch_template": {
                    "launch_template_id": template.id,
                    "version": template.latest_version.apply(str),
                },
                "tags": {"Name": self._name, **args.tags},
            },
            update_policy={
                "job_execution_timeout_minutes": args.job_minutes_on_update,
                "terminate_jobs_on_update": args.terminate_jobs_on_update,
            },
            tags=args.tags,
            opts=ResourceOptions(
                parent=self,
                depends_on=[permissions],
                custom_timeouts=pulumi.CustomTimeouts(
                    create="20m", update=f"{update_minutes}m", delete=f"{update_minutes}m"
                ),
            ),
        )

    def _job_definition(
        self, logs: cloudwatch.LogGroup, environment: batch.ComputeEnvironment
    ) -> batch.JobDefinition:
        """A lost host is tried again; a job that fails by itself ends at once.

        A new digest waits for the environment: only its new machines have the image.
        """
        args = self._args
        properties = pulumi.Output.all(args.image_uri, args.region, logs.name).apply(
            lambda known: documents.container(
                image_uri=known[0],
                job=args.job,
                models_folder=args.models_folder,
                region=known[1],
                log_group=known[2],
            )
        )
        return batch.JobDefinition(
            self._name,
            type="container",
            platform_capabilities=["EC2"],
            container_properties=properties,
            propagate_tags=True,
            retry_strategy={
                "attempts": args.job.attempts,
                "evaluate_on_exits": [
                    {"action": "retry", "on_status_reason": documents.HOST_LOST},
                    {"action": "exit", "on_reason": "*"},
                ],
            },
            timeout={"attempt_duration_seconds": args.job.timeout_minutes * 60},
            tags=args.tags,
            opts=ResourceOptions(parent=self, depends_on=[environment]),
        )
