"""The stand-in under the real engine: a program over nearly every type, changed and destroyed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.environment import client_environment
from local_cloud.inventory import take_inventory

PROGRAM = """
import json
import pulumi
import pulumi_aws as aws

second = pulumi.Config().get_bool("second")
version = "2" if second else "1"
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
         "Principal": {"Service": "ec2.amazonaws.com"}}]}
allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecs:Poll",
         "Resource": "*"}]}
tags = {"version": version}

logs = aws.cloudwatch.LogGroup("jobs", retention_in_days=60 if second else 30)
role = aws.iam.Role("host", assume_role_policy=json.dumps(trust), tags=tags,
    description=pulumi.Output.secret("quiet"))
aws.iam.RolePolicy("inline", role=role.name, policy=json.dumps(allow))
policy = aws.iam.Policy("shared", policy=json.dumps(allow), description="shared " + version)
aws.iam.RolePolicyAttachment("shared", role=role.name, policy_arn=policy.arn)
profile = aws.iam.InstanceProfile("host", role=role.name)
group = aws.ec2.SecurityGroup("host", tags=tags)
aws.vpc.SecurityGroupEgressRule("out", security_group_id=group.id, ip_protocol="tcp",
    from_port=443, to_port=443, cidr_ipv4="0.0.0.0/0")
repository = aws.ecr.Repository("app", force_delete=True)
bucket = aws.s3.Bucket("models", force_destroy=True)
aws.s3.BucketObjectv2("model", bucket=bucket.bucket, key="m.bin",
    source=pulumi.StringAsset("content " + version))
base = aws.ssm.get_parameter(name=
    "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id").value
subnet = aws.ec2.get_subnet_output(id="subnet-0a10ca10000000001")
template = aws.ec2.LaunchTemplate("host", image_id=base, update_default_version=True,
    description="version " + version,
    block_device_mappings=[{"device_name": "/dev/xvda",
        "ebs": {"volume_size": 30, "volume_type": "gp3", "volume_initialization_rate": 300}}])
environment = aws.batch.ComputeEnvironment("gpu", type="MANAGED",
    compute_resources={"type": "SPOT", "allocation_strategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
        "max_vcpus": 16, "instance_types": ["g5.xlarge"], "subnets": [subnet.id],
        "security_group_ids": [group.id], "instance_role": profile.arn,
        "ec2_configurations": [{"image_type": "ECS_AL2023_NVIDIA", "image_id_override": base}],
        "launch_template": {"launch_template_id": template.id,
                            "version": template.latest_version.apply(str)}},
    update_policy={"job_execution_timeout_minutes": 45})
queue = aws.batch.JobQueue("work", priority=1, state="ENABLED",
    compute_environment_orders=[{"order": 1, "compute_environment": environment.arn}])
job = aws.batch.JobDefinition("job", type="container",
    container_properties=pulumi.Output.json_dumps({"image": repository.repository_url,
        "environment": [{"name": "VERSION", "value": version}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"},
                                 {"type": "MEMORY", "value": "128"}]}))
pulumi.export("environment", environment.arn)
pulumi.export("templateVersion", template.latest_version)
pulumi.export("policy", policy.arn)
pulumi.export("job", job.arn)
pulumi.export("hidden", role.description)
"""

pytestmark = pytest.mark.engine


class Stack:
    """The program in a folder of its own, on a cloud."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        (folder / "Pulumi.yaml").write_text("name: stand-in\nruntime: python\n")
        (folder / "__main__.py").write_text(PROGRAM)
        self.run("stack", "init", "test")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            check=False,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json"))
        return found

    def operations(self) -> dict[str, tuple[str, list[str]]]:
        """What a preview would do to each resource: the operation, and the changed paths."""
        steps = json.loads(self.run("preview", "--json"))["steps"]
        return {
            f"{step['urn'].split('::')[2].rpartition('/')[2].partition(':')[0]}": (
                step["op"],
                sorted(step.get("detailedDiff") or {}),
            )
            for step in steps
            if step["op"] not in ("same", "read") and "pulumi:pulumi" not in step["urn"]
        }


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(real=False, say=lambda _: None) as cloud:
        yield cloud


@pytest.fixture
def stack(cloud: Cloud, tmp_path: Path) -> Stack:
    environment = client_environment(cloud)
    assert shutil.which("pulumi", path=environment["PATH"]), "no Pulumi CLI: run `make setup`"
    return Stack(tmp_path, environment | {"PULUMI_HOME": os.environ.get("PULUMI_HOME", "")})


def test_made_unchanged_changed_and_destroyed(stack: Stack, cloud: Cloud) -> None:
    stack.run("up", "--yes", "--skip-preview")
    first = stack.outputs()
    assert first["templateVersion"] == 1
    assert first["hidden"] == "[secret]", "what went in as a secret comes out as one"
    stack.run("config", "set", "second", "true")
    planned = stack.operations()
    assert planned.pop("policy")[0] in ("replace", "create-replacement", "delete-replaced")
    assert planned.pop("rolePolicyAttachment")[0] in (
        "replace",
        "create-replacement",
        "delete-replaced",
    )
    assert planned == {
        "logGroup": ("update", ["retentionInDays"]),
        "role": ("update", ["tags"]),
        "securityGroup": ("update", ["tags"]),
        "bucketObjectv2": ("update", ["source"]),
        "launchTemplate": ("update", ["description"]),
        "computeEnvironment": ("update", ["computeResources.launchTemplate.version"]),
        "jobDefinition": ("update", ["containerProperties"]),
    }

    stack.run("up", "--yes", "--skip-preview", "--refresh")
    second = stack.outputs()
    assert second["environment"] == first["environment"], "the environment is updated in place"
    assert second["templateVersion"] == 2
    assert second["policy"] != first["policy"]
    assert second["job"] == first["job"].removesuffix(":1") + ":2"
    assert stack.operations() == {}, "an unchanged program changes nothing"

    stack.run("destroy", "--yes", "--skip-preview")
    left = {kind: items for kind, items in take_inventory(cloud).items() if items}
    assert left == {}
