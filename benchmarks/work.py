"""Pull and downloads on a builder, side by side as a bake does them, beside one after the other.

`python benchmarks/work.py` (root on Linux) starts a local cloud with machines that run and a link.
In turn, each on a fresh machine: the stage of a bake that pulls the image and fetches the models,
and what the old template ran, `docker pull` and then one `curl` a model.

Where all share one link that is full, nothing can be won but the time in which Docker unpacks.
Where each connection is limited, as servers and S3 do it, the shorter of the two is won, and more,
as models come in parts.
"""

from __future__ import annotations

import base64
import itertools
import os
import statistics
import subprocess
import sys
import time
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
from ami_provider.bake import bake  # noqa: E402
from ami_provider.contents import ContainerImage, Model  # noqa: E402
from ami_provider.recipe import ExtraStep, ImageRecipe, SystemUpdate  # noqa: E402
from ami_provider.resolve import resolve  # noqa: E402
from ami_provider.resolved import ResolvedRecipe  # noqa: E402
from ami_provider.site import BuildSite, Lineage  # noqa: E402
from benchmarks.demo_job import ROLE, create_profile, find_network  # noqa: E402
from benchmarks.measuring import Target, control, finish, spread  # noqa: E402
from benchmarks.start import LINK_MB_S, without_endpoint  # noqa: E402

IMAGE_MIB, MODELS_MIB, LARGE_MIB = 256, 28, 128
"""The old template's proportions (17 GB to 1.85), and models about as large as the image."""
BUCKET, LARGE = "local-ml-models", "large/"
STAGE = "pull the images and fetch the models"


@dataclass(frozen=True)
class Case:
    """A link and models. `most` is what a bake may take, as a share of one after the other."""

    name: str
    prefix: str
    link: dict[str, float]
    most: float


CASES = (
    Case("one full link, the template's models", "models/",
         {"machine_mb_per_s": round(LINK_MB_S, 1)}, most=1.1),
    Case("slow connections, models as large as the image", LARGE,
         {"machine_mb_per_s": 40.0, "connection_mb_per_s": 5.0}, most=0.75),
)  # fmt: skip


@click.command(help=__doc__)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1, 20))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(rounds: int, result_file: Path | None) -> None:
    """Exits 1 where a target is not met."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--", *own]
        sizes = {"LOCAL_CLOUD_IMAGE_MB": str(IMAGE_MIB), "LOCAL_CLOUD_MODELS_MB": str(MODELS_MIB)}
        sys.exit(subprocess.run(run, cwd=ROOT, env=os.environ | sizes, check=False).returncode)
    if not control("health")["real"]:
        raise click.ClickException("this needs machines that run: root on Linux")
    aws = Aws(os.environ["AWS_REGION"])
    create_profile()
    put_large_models(aws)
    seconds = {case.name: measure(aws, case, rounds) for case in CASES}
    show(seconds)
    targets = []
    for case in CASES:
        middle = {way: statistics.median(taken) for way, taken in seconds[case.name].items()}
        ratio = middle["side by side"] / middle["one by one"]
        targets.append(Target(f"{case.name}: a bake / one after the other", ratio, most=case.most))
    sys.exit(finish({"rounds": rounds, "seconds": seconds}, targets, result_file))


def put_large_models(aws: Aws) -> None:
    for number in range(4):
        body = os.urandom(LARGE_MIB // 4 << 20)
        aws.s3.put_object(
            Bucket=BUCKET, Key=f"{LARGE}{number}.bin", Body=body, ChecksumAlgorithm="SHA256"
        )


def measure(aws: Aws, case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, in turn."""
    seconds: dict[str, list[float]] = {"side by side": [], "one by one": []}
    for number in range(rounds):
        control("latency", {"link": case.link})
        recipe = make_recipe(aws, case, f"{case.prefix}{number}")
        seconds["side by side"].append(side_by_side(aws, recipe))
        seconds["one by one"].append(one_by_one(aws, recipe))
        click.echo(f"{case.name}: {seconds}")
    control("latency", {})
    return seconds


def make_recipe(aws: Aws, case: Case, salt: str) -> ResolvedRecipe:
    account = boto3.client("sts").get_caller_identity()["Account"]
    registry = f"{account}.dkr.ecr.{aws.region}.amazonaws.com"
    recipe = ImageRecipe(
        images=(ContainerImage(repository=f"{registry}/batch-processor", tag="latest"),),
        models=(Model(source=f"s3://{BUCKET}/{case.prefix}", destination="/opt/ml/models/"),),
        extra_steps=(ExtraStep(name="content", script=f"echo {salt}"),),
        system_update=SystemUpdate(enabled=False),
    )
    resolved = resolve(recipe, aws).recipe
    assert resolved is not None
    return resolved


def side_by_side(aws: Aws, recipe: ResolvedRecipe) -> float:
    """Seconds of that stage of a whole bake."""
    subnet, group = find_network(aws)
    site = BuildSite(
        region=aws.region,
        subnet_ids=(subnet,),
        security_group_ids=(group,),
        instance_profile=ROLE,
        verify="off",
    )
    lineage = Lineage(project="work", stack="bench", name="work", urn="urn:work")
    return bake(recipe, site, lineage, aws=aws, report=lambda _text: None).timings[STAGE]


def one_by_one(aws: Aws, recipe: ResolvedRecipe) -> float:
    """Seconds of the old template's commands on a fresh machine, by its own clock."""
    subnet, group = find_network(aws)
    made = aws.ec2.run_instances(
        ImageId=recipe.base.ami_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1,
        SubnetId=subnet, SecurityGroupIds=[group], IamInstanceProfile={"Name": ROLE},
    )["Instances"][0]["InstanceId"]  # fmt: skip
    try:
        return float(run_on(aws, made, script_of(aws, recipe)).split()[-1])
    finally:
        aws.ec2.terminate_instances(InstanceIds=[made])


def script_of(aws: Aws, recipe: ResolvedRecipe) -> list[str]:
    token = aws.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    (image,) = recipe.images
    registry = image.repository.partition("/")[0]
    signer = without_endpoint("s3", aws.region)
    lines = ["set -e", "systemctl start docker", "mkdir -p /opt/ml/models",
             f"docker login -u AWS -p '{password}' {registry} >/dev/null 2>&1",
             "start=$(date +%s.%N)", f"docker pull -q {image.uri} >/dev/null"]  # fmt: skip
    for model in recipe.models:
        bucket, _, key = model.source.removeprefix("s3://").partition("/")
        url = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
        lines.append(f"curl -sSf -o {model.destination} '{url}'")
    return [*lines, "echo \"$(date +%s.%N) $start\" | awk '{print $1 - $2}'"]


def run_on(aws: Aws, machine: str, lines: list[str]) -> str:
    """What the script prints, once the machine takes commands."""
    asked: Any = [{"Key": "InstanceIds", "Values": [machine]}]
    while not aws.ssm.describe_instance_information(Filters=asked)["InstanceInformationList"]:
        time.sleep(0.5)
    command = aws.ssm.send_command(
        InstanceIds=[machine], DocumentName="AWS-RunShellScript", Parameters={"commands": lines}
    )["Command"]["CommandId"]
    for _ in itertools.count():
        said = aws.ssm.get_command_invocation(CommandId=command, InstanceId=machine)
        if said["Status"] not in ("Pending", "InProgress"):
            break
        time.sleep(0.5)
    if said["Status"] != "Success":
        raise click.ClickException(f"{said['Status']}: {said['StandardErrorContent']}")
    return str(said["StandardOutputContent"])


def show(seconds: dict[str, dict[str, list[float]]]) -> None:
    table = Table("case", "side by side s", "one by one s", title="min / median / max")
    for name, ways in seconds.items():
        table.add_row(name, *(spread(taken) for taken in ways.values()))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
