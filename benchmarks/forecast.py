"""Forecasts of a bake's duration beside the clock, for five recipes.

`python benchmarks/forecast.py` starts a local cloud whose changes of state take their time
(`--latency`), bakes each recipe once, and then again with other content: first by published figures
and sizes, then by the timings in the earlier AMI's tags, which is what counts here.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import boto3  # noqa: E402
import click  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from ami_provider.aws import Aws  # noqa: E402
from ami_provider.bake import bake  # noqa: E402
from ami_provider.contents import ContainerImage, Model  # noqa: E402
from ami_provider.forecasting import get_forecast  # noqa: E402
from ami_provider.recipe import AgentSettings, ExtraStep, ImageRecipe, SystemUpdate  # noqa: E402
from ami_provider.resolve import resolve  # noqa: E402
from ami_provider.resolved import ResolvedRecipe  # noqa: E402
from ami_provider.site import BuildSite, Lineage  # noqa: E402
from benchmarks.bakes import create_profile  # noqa: E402
from benchmarks.measuring import Target, finish  # noqa: E402

LIMIT = 0.25
"""How far the forecast by an earlier bake may be off, as a share of what the bake took."""

PREFIX = (Model(source="s3://local-ml-models/models/", destination="/opt/ml/models/"),)
RECIPES: dict[str, dict[str, Any]] = {
    "image alone": {},
    "image and models": {"models": PREFIX},
    "without the update": {"models": PREFIX, "system_update": SystemUpdate(enabled=False)},
    "an extra step": {"extra_steps": (ExtraStep(name="wait", script="sleep 2\n"),)},
    "not verified": {"models": PREFIX},
}


@click.command(help=__doc__)
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 20))
@click.option("--latency", default="5s", show_default=True, help="The local cloud's profile.")
@click.option("--real", is_flag=True, help="Machines that run (root on Linux): steps take time.")
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(rounds: int, latency: str, real: bool, result_file: Path | None) -> None:
    """Exits 1 where a forecast by earlier bakes is further off than the limit."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        kind = [] if real else ["--recorded"]
        cloud = ["local_cloud", "run", *kind, "--latency", latency, "--"]
        run = [sys.executable, "-m", *cloud, *own]
        sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    create_profile()
    aws = Aws(os.environ["AWS_REGION"])
    result = {name: measure(aws, name, rounds) for name in RECIPES}
    show(result, latency)
    targets = [
        Target(f"{name}: off by, as a share", abs(found["off"]), most=LIMIT)
        for name, found in result.items()
    ]
    document = {"latency": latency, "real": real, "recipes": result}
    sys.exit(finish(document, targets, result_file))


def measure(aws: Aws, name: str, rounds: int) -> dict[str, Any]:
    """Forecast and seconds of each bake of one recipe, the first by figures alone."""
    lineage = Lineage(project="benchmark", stack="forecast", name=name.replace(" ", "-"))
    site = get_site(aws, verify="off" if name == "not verified" else "on")
    bakes = []
    for number in range(rounds + 1):
        recipe = get_recipe(aws, name, number)
        told = get_forecast(recipe, None, site, lineage, aws)
        started = time.perf_counter()
        bake(recipe, site, lineage, aws=aws, report=lambda _text: None)
        took = time.perf_counter() - started
        assert told.seconds is not None
        bakes.append(
            {"forecast_s": round(told.seconds, 1), "took_s": round(took, 1), "by": told.earlier}
        )
    off = statistics.median(one["forecast_s"] / one["took_s"] - 1 for one in bakes[1:])
    return {"bakes": bakes, "off": round(off, 3)}


def get_recipe(aws: Aws, name: str, number: int) -> ResolvedRecipe:
    """Content of its own for each round, of the same size."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    repository = f"{account}.dkr.ecr.{aws.region}.amazonaws.com/batch-processor"
    recipe = ImageRecipe(
        images=(ContainerImage(repository=repository, tag="latest"),),
        agent=AgentSettings(extra={"ECS_BENCHMARK": f"{name} {number}"}),
        **RECIPES[name],
    )
    found = resolve(recipe, aws).recipe
    assert found is not None
    return found


def get_site(aws: Aws, verify: str) -> BuildSite:
    subnet = aws.ec2.describe_subnets()["Subnets"][0]
    groups = aws.ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
    )
    return BuildSite(
        region=aws.region,
        subnet_ids=(subnet["SubnetId"],),
        security_group_ids=(groups["SecurityGroups"][0]["GroupId"],),
        instance_profile="builder",
        verify=verify,
    )


def show(result: dict[str, Any], latency: str) -> None:
    """Print the first bake of each recipe, and the last."""
    table = Table(title=f"Forecasts beside the clock, latency profile {latency}")
    table.add_column("recipe")
    for head in ("by figures s", "took s", "by the earlier bake s", "took s", "off"):
        table.add_column(head, justify="right")
    for name, found in result.items():
        first, last = found["bakes"][0], found["bakes"][-1]
        table.add_row(
            name, f"{first['forecast_s']:.0f}", f"{first['took_s']:.0f}",
            f"{last['forecast_s']:.1f}", f"{last['took_s']:.1f}", f"{found['off']:+.0%}",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
