"""The same job on the plain base AMI and on one that was baked for it, timelines side by side.

`make demo-job`, or `python benchmarks/demo_job.py`, starts a local cloud of its own, bakes there,
and submits the job twice. It shows that the baked AMI needs no pull and has the models; how long a
pull of 17 GB takes on AWS it does not show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ami_provider.aws import Aws  # noqa: E402
from ami_provider.bake import BakedImage, bake  # noqa: E402
from ami_provider.contents import ContainerImage, Model  # noqa: E402
from ami_provider.recipe import ImageRecipe  # noqa: E402
from ami_provider.resolve import resolve  # noqa: E402
from ami_provider.site import BuildSite, Lineage  # noqa: E402

LIMIT_S = 5.0
"""The most from SubmitJob to the container's start on the baked AMI, on an idle machine."""
WHERE = "on the local cloud"
MODELS = "/opt/ml/models"
ROLE = "demo-job"
STAGES = {
    "submitted": "submitted",
    "machine_up": "machine up",
    "agent_up": "agent up",
    "image_ready": "image ready",
    "started": "container started",
    "stopped": "container stopped",
}
GRANTS = [
    {"Effect": "Allow", "Action": [*actions], "Resource": "*"}
    for actions in (
        ("ssm:*", "ssmmessages:*", "ec2messages:*"),
        ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        ("s3:GetObject*", "s3:ListBucket"),
        ("ecs:*", "logs:CreateLogStream", "logs:PutLogEvents"),
    )
]


@click.command(help=__doc__)
@click.option("--image-mib", default=128, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--models-mib", default=32, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(image_mib: int, models_mib: int, result_file: Path | None) -> None:
    """Exits 1 where the baked AMI's job pulled, or had no models, or a job failed."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--", *own]
        sizes = {"LOCAL_CLOUD_IMAGE_MB": str(image_mib), "LOCAL_CLOUD_MODELS_MB": str(models_mib)}
        sys.exit(subprocess.run(run, cwd=ROOT, env=os.environ | sizes, check=False).returncode)
    if not ask("health")["real"]:
        raise click.ClickException("the demonstration needs machines that run: root on Linux")
    result = measure()
    show(result)
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if is_shown(result) else 1)


def measure() -> dict[str, Any]:
    """Bake, run the job on each AMI; what each job met, by `plain` and `baked`."""
    aws = Aws(os.environ["AWS_REGION"])
    profile = create_profile()
    network = find_network(aws)
    click.echo("Baking an AMI with the job's image and models.")
    started = time.perf_counter()
    baked, base_ami, image_uri = bake_ami(aws, network)
    click.echo(f"{baked.ami_id} after {time.perf_counter() - started:.0f} s.")
    demo = Demo(aws, profile, network, image_uri)
    jobs = {}
    for name, ami in (("plain", base_ami), ("baked", baked.ami_id)):
        click.echo(f"Submitting the job to machines of the {name} AMI, {ami}.")
        jobs[name] = demo.run(name, ami)
    start = start_of(jobs["baked"])
    return {"jobs": jobs, "where": WHERE, "baked_start_s": start, "limit_s": LIMIT_S}


def create_profile() -> str:
    """A role for builders and Batch's machines; the ARN of its instance profile."""
    iam = boto3.client("iam")
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "ec2.amazonaws.com"},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=document)
    policy = json.dumps({"Version": "2012-10-17", "Statement": GRANTS})
    iam.put_role_policy(RoleName=ROLE, PolicyName=ROLE, PolicyDocument=policy)
    made = iam.create_instance_profile(InstanceProfileName=ROLE)["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    return made["Arn"]


def find_network(aws: Aws) -> tuple[str, str]:
    """A subnet and the group of the default VPC."""
    (vpc,) = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    within = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = aws.ec2.describe_subnets(Filters=within)["Subnets"]  # type: ignore[arg-type]
    groups = aws.ec2.describe_security_groups(Filters=within)["SecurityGroups"]  # type: ignore[arg-type]
    (default,) = [one["GroupId"] for one in groups if one["GroupName"] == "default"]
    return subnets[0]["SubnetId"], default


def bake_ami(aws: Aws, network: tuple[str, str]) -> tuple[BakedImage, str, str]:
    """The baked AMI, the base AMI, and the image's URI by digest, as the bake pulls it."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    registry = f"{account}.dkr.ecr.{aws.region}.amazonaws.com"
    images = (ContainerImage(repository=f"{registry}/batch-processor", tag="latest"),)
    models = (Model(source="s3://local-ml-models/models/", destination=f"{MODELS}/"),)
    recipe = resolve(ImageRecipe(images=images, models=models), aws).recipe
    assert recipe is not None
    subnet, group = network
    site = BuildSite(
        region=aws.region,
        subnet_ids=(subnet,),
        security_group_ids=(group,),
        instance_profile=ROLE,
        instance_types=("g5.xlarge",),
        verify="off",  # the job itself is the proof here
    )
    lineage = Lineage(project="demo-job", stack="local", name="gpu", urn="urn:demo-job")
    baked = bake(recipe, site, lineage, aws=aws, report=lambda _text: None)
    return baked, recipe.base.ami_id, recipe.images[0].uri


@dataclass(frozen=True)
class Demo:
    """What both runs of the job share."""

    aws: Aws
    profile: str
    network: tuple[str, str]
    image_uri: str

    def run(self, name: str, ami: str, *, command: list[str] | None = None) -> dict[str, Any]:
        """The job on a new environment of one AMI: its timeline, and what it says of models.

        `command` runs in place of the image's own, and finds the machine's disk below `/host`.
        """
        batch = self.aws.client("batch")
        self._create_queue(batch, name, ami)
        needs = {"VCPU": "4", "MEMORY": "1024", "GPU": "1"}
        own: Any = {"command": command} if command else {}
        mounts = {"models": (MODELS, MODELS)} | ({"host": ("/", "/host")} if command else {})
        definition = batch.register_job_definition(
            jobDefinitionName="demo",
            type="container",
            containerProperties={
                **own,
                "image": self.image_uri,
                "resourceRequirements": [{"type": k, "value": v} for k, v in needs.items()],
                "volumes": [{"name": n, "host": {"sourcePath": m[0]}} for n, m in mounts.items()],
                "mountPoints": [
                    {"sourceVolume": n, "containerPath": m[1]} for n, m in mounts.items()
                ],
            },
        )["jobDefinitionArn"]
        job_id = batch.submit_job(jobName=name, jobQueue=name, jobDefinition=definition)["jobId"]
        while True:
            (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
            if job["status"] in ("SUCCEEDED", "FAILED"):
                return self._result(job)
            time.sleep(0.1)

    def remove(self, name: str) -> None:
        """End the queue, its environment and their machines."""
        batch = self.aws.client("batch")
        batch.update_job_queue(jobQueue=name, state="DISABLED")
        batch.delete_job_queue(jobQueue=name)
        batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
        batch.delete_compute_environment(computeEnvironment=name)

    def _create_queue(self, batch: Any, name: str, ami: str) -> None:
        subnet, group = self.network
        batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={
                "type": "SPOT",
                "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
                "maxvCpus": 4,
                "instanceTypes": ["g5.xlarge"],
                "subnets": [subnet],
                "securityGroupIds": [group],
                "instanceRole": self.profile,
                "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": ami}],
            },
        )
        while True:
            found = batch.describe_compute_environments(computeEnvironments=[name])
            (environment,) = found["computeEnvironments"]
            if environment["status"] == "VALID":
                break
            if environment["status"] == "INVALID":
                raise click.ClickException(f"{name}: {environment['statusReason']}")
            time.sleep(0.1)
        order = [{"order": 1, "computeEnvironment": name}]
        batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)

    def _result(self, job: dict[str, Any]) -> dict[str, Any]:
        timelines = ask("jobs")["jobs"]
        (attempt,) = [one["attempts"][-1] for one in timelines if one["id"] == job["jobId"]]
        events = boto3.client("logs").get_log_events(
            logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"]
        )["events"]
        said = [event["message"] for event in events]
        return {
            "status": job["status"],
            "reason": job.get("statusReason", ""),
            "ami": attempt["ami"],
            "image": (attempt["image"] or {}).get("how", "-"),
            "models": [line.split()[1] for line in said if line.startswith("model ")],
            "log": said[-5:],
            "times": attempt["times"],
        }


def ask(what: str) -> dict[str, Any]:
    """What the local cloud says about itself."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/_local_cloud/{what}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def start_of(job: dict[str, Any]) -> float | None:
    """Seconds from SubmitJob to the container's start; None where it never started."""
    times = job["times"]
    return round(times["started"] - times["submitted"], 2) if "started" in times else None


def is_shown(result: dict[str, Any]) -> bool:
    """Whether both jobs succeeded, and only the plain AMI's pulled and had no models."""
    plain, baked = result["jobs"]["plain"], result["jobs"]["baked"]
    return (
        {plain["status"], baked["status"]} == {"SUCCEEDED"}
        and (plain["image"], baked["image"]) == ("pulled", "cached")
        and bool(baked["models"])
        and not plain["models"]
    )


def show(result: dict[str, Any]) -> None:
    """The table that a person reads."""
    jobs = result["jobs"]
    table = Table(title="One job on two AMIs, seconds after SubmitJob")
    table.add_column("stage")
    for name, job in jobs.items():
        table.add_column(f"{name} AMI\n{job['ami']}", justify="right")
    for stage, title in STAGES.items():
        cells = []
        for job in jobs.values():
            times = job["times"]
            zero = times["submitted"]
            cells.append(f"{times[stage] - zero:.2f}" if stage in times else "-")
        table.add_row(title, *cells)
    table.add_section()
    table.add_row("image", *(job["image"] for job in jobs.values()))
    table.add_row("models", *(str(len(job["models"]) or "none") for job in jobs.values()))
    table.add_row("status", *(job["status"] for job in jobs.values()))
    console = Console(width=100)
    console.print(table)
    for name, job in jobs.items():
        if job["status"] != "SUCCEEDED":
            console.print(f"{name}: {job['reason']}")
    start = result["baked_start_s"]
    if start is not None:
        verdict = "within" if start <= LIMIT_S else "above"
        console.print(f"SubmitJob to container on the baked AMI: {start:.2f} s,", end=" ")
        console.print(f"{verdict} the limit of {LIMIT_S:.0f} s on an idle machine")


if __name__ == "__main__":
    main()
