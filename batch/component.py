"""The component: from an AMI's ID to a queue whose jobs start on machines of that AMI."""

from __future__ import annotations

from dataclasses import replace

import pulumi
from pulumi import ResourceOptions
from pulumi_aws import batch, cloudwatch

from batch import documents
from batch.args import GpuBatchArgs
from batch.environments import create_environments, update_minutes
from batch.machines import (
    create_grants,
    create_host_profile,
    create_launch_template,
    keep_snapshot_ready,
)
from batch.network import create_way_out
from batch.rollout import RollOut
from batch.room import check_room
from batch.service_roles import ServiceRoles
from batch.start_line import tell_start


class GpuBatch(pulumi.ComponentResource):
    """Everything that Batch needs to run GPU jobs on machines of one AMI.

    Makes an instance role and profile, a log group, a launch template, a managed compute
    environment (with Batch's service-linked role, so that AMIs change in place), a job queue and
    a job definition pinned to the image's digest; a security group where none is given, and an
    on-demand environment behind the spot one where asked. All are tagged and children of this
    resource. Makes the account's service-linked roles of Batch and EC2 Spot when they are missing,
    and leaves those behind.
    """

    launch_template_id: pulumi.Output[str]
    launch_template_version: pulumi.Output[int]
    """The version the environment names; never `$Latest`, which Batch does not follow."""
    compute_environment_arn: pulumi.Output[str]
    compute_environment_arns: pulumi.Output[list[str]]
    """In the queue's order; the first is `compute_environment_arn`."""
    job_queue_arn: pulumi.Output[str]
    job_definition_arn: pulumi.Output[str]
    """With its revision: a new image or setting makes a new one."""
    log_group_name: pulumi.Output[str]
    security_group_ids: pulumi.Output[list[str]]

    def __init__(self, name: str, args: GpuBatchArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("baked-ami:batch:GpuBatch", name, None, opts)
        child = ResourceOptions(parent=self)
        if not args.security_group_ids:
            made = create_way_out(f"{name}-out", vpc_id=args.vpc_id, tags=args.tags, opts=child)
            args = replace(args, security_group_ids=[made])
        self._name, self._args, self._child = name, args, child
        check_room(args, self)

        logs = cloudwatch.LogGroup(
            f"{name}-jobs", retention_in_days=args.log_retention_days, tags=args.tags, opts=child
        )
        roles = self._service_roles()
        profile, permissions = create_host_profile(f"{name}-host", args, logs, child)
        template = create_launch_template(name, args, child)
        keep_snapshot_ready(name, args, child)
        granted = ResourceOptions(parent=self, depends_on=[roles])
        grants = create_grants(name, args, logs, granted)
        environments = create_environments(
            name, args, profile, template, needs=[permissions, roles, *grants], parent=self
        )
        orders = [
            {"order": order, "compute_environment": environment.arn}
            for order, environment in enumerate(environments, start=1)
        ]
        queue = batch.JobQueue(
            name,
            priority=1,
            state="ENABLED",
            compute_environment_orders=orders,
            tags=args.tags,
            opts=child,
        )
        arns = [environment.arn for environment in environments]
        done = RollOut(
            name,
            environments=arns,
            ami_id=args.ami_id,
            region=args.region,
            minutes=update_minutes(args),
            opts=ResourceOptions(parent=self, depends_on=environments),
        )
        job = self._job_definition(logs, done)
        tell_start(args, self)

        self.launch_template_id = template.id
        self.launch_template_version = template.latest_version
        self.compute_environment_arn = environments[0].arn
        self.compute_environment_arns = pulumi.Output.all(*arns)
        self.job_queue_arn = queue.arn
        self.job_definition_arn = job.arn
        self.log_group_name = logs.name
        self.security_group_ids = pulumi.Output.all(*args.security_group_ids)
        self.register_outputs(
            {
                "launchTemplateId": self.launch_template_id,
                "launchTemplateVersion": self.launch_template_version,
                "computeEnvironmentArn": self.compute_environment_arn,
                "computeEnvironmentArns": self.compute_environment_arns,
                "jobQueueArn": self.job_queue_arn,
                "jobDefinitionArn": self.job_definition_arn,
                "logGroupName": self.log_group_name,
                "securityGroupIds": self.security_group_ids,
            }
        )

    def _service_roles(self) -> ServiceRoles:
        """The account's own, so they carry no tags and stay when this goes."""
        args, services = self._args, []
        if args.service_role is None:
            services.append("batch.amazonaws.com")
        if args.spot:
            services.append("spot.amazonaws.com")
        if args.encryption_key is not None and "on-demand" in args.markets():
            services.append("autoscaling.amazonaws.com")
        return ServiceRoles(self._name, services=services, region=args.region, opts=self._child)

    def _job_definition(self, logs: cloudwatch.LogGroup, done: RollOut) -> batch.JobDefinition:
        """A lost host is tried again; a job that fails by itself ends at once.

        A new digest waits for the roll-out: only the environment's new machines have the image.
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
            opts=ResourceOptions(parent=self, depends_on=[done]),
        )
