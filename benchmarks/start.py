"""From SubmitJob to the models read: the same job on the plain base AMI and on a baked one.

`python benchmarks/start.py` (root on Linux) starts a local cloud with machines that run, whose link
has the speed of the old template's figures: 17 GB of image and 1.85 GB of models in 17 of the 20
minutes that a job's start took. Sizes are divided by `--scale`, so times are about as much shorter;
what a machine takes to boot is what it takes here.

Four starts are taken in turn, each on a machine of its own: plain (pulls the image, then fetches
the models as its users' jobs do), baked and read warm, baked and read cold (first touch of each
block at 10 MB/s; once only), and baked with everything local, which is without a link.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ami_provider.aws import Aws  # noqa: E402
from benchmarks.demo_job import Demo, bake_ami, create_profile, find_network  # noqa: E402
from benchmarks.measuring import Target, control, finish, spread  # noqa: E402

IMAGE_MB, MODELS_MB, PLAIN_MIN, BAKED_MIN = 17_000, 1_850, 20, 3
"""The old template's: image, models, and its job's start without and with a baked AMI."""
LINK_MB_S = (IMAGE_MB + MODELS_MB) / (60 * (PLAIN_MIN - BAKED_MIN))
COLD_MB_S = 10.0
"""One reader's first reads of a cold volume on AWS: 6-12 MB/s."""
SHARE, OVER_LOCAL = 0.15, 1.2
"""Baked and warm at most: of the plain AMI's start, and as a multiple of the one without a link."""
BUCKET, PREFIX = "local-ml-models", "models/"
LINK: dict[str, Any] = {"link": {"machine_mb_per_s": round(LINK_MB_S, 1)}}
STARTS: dict[str, dict[str, Any]] = {
    "plain": LINK,
    "baked, warm": LINK,
    "baked, cold": LINK | {"cold_volumes": {"first_read_mb_per_s": COLD_MB_S}},
    "baked, all local": {},
}
"""Each start, and the latency profile that it meets."""
ONCE = "baked, cold"
"""It is held to nothing, and takes long: the machine boots from the cold volume too."""
STAGES = ("machine_up", "agent_up", "image_ready", "started", "stopped")
NAMES = ("machine up", "agent up", "image ready", "container started", "models read")


@click.command(help=__doc__)
@click.option("--scale", default=17, show_default=True, type=click.IntRange(1, 2000))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(scale: int, rounds: int, result_file: Path | None) -> None:
    """Exits 1 where a target is not met or a job fails."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--", *own]
        sizes = {
            "LOCAL_CLOUD_IMAGE_MB": str(round(IMAGE_MB / scale / 1.048576)),
            "LOCAL_CLOUD_MODELS_MB": str(round(MODELS_MB / scale / 1.048576)),
        }
        sys.exit(subprocess.run(run, cwd=ROOT, env=os.environ | sizes, check=False).returncode)
    if not control("health")["real"]:
        raise click.ClickException("this needs machines that run: root on Linux")
    jobs = measure(rounds)
    seconds = {name: [seconds_to(job, "stopped") for job in runs] for name, runs in jobs.items()}
    show(jobs)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    targets = [
        Target("baked and warm / plain", middle["baked, warm"] / middle["plain"], most=SHARE),
        Target("baked and warm / the same with everything local",
               middle["baked, warm"] / middle["baked, all local"], most=OVER_LOCAL),
    ]  # fmt: skip
    result = {"scale": scale, "link_mb_per_s": LINK_MB_S, "jobs": jobs, "seconds": seconds}
    sys.exit(finish(result, targets, result_file))


def measure(rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Bake once, then every start in turn, `rounds` times."""
    aws = Aws(os.environ["AWS_REGION"])
    profile, network = create_profile(), find_network(aws)
    click.echo("Baking an AMI with the job's image and models.")
    baked, base, image_uri = bake_ami(aws, network)
    demo = Demo(aws, profile, network, image_uri)
    jobs: dict[str, list[dict[str, Any]]] = {name: [] for name in STARTS}
    for number in range(rounds):
        for name, latency in STARTS.items():
            if number and name == ONCE:
                continue
            control("latency", latency)
            plain = name == "plain"
            command = ["sh", "-c", fetching(aws)] if plain else None
            where = f"{name.replace(', ', '-').replace(' ', '-')}-{number}"
            job = demo.run(where, base if plain else baked.ami_id, command=command)
            if job["status"] != "SUCCEEDED" or not job["models"]:
                raise click.ClickException(f"{where}: {job}")
            jobs[name].append(job)
            demo.remove(where)
            click.echo(f"{where}: {seconds_to(job, 'stopped'):.1f} s")
    control("latency", {})
    return jobs


def fetching(aws: Aws) -> str:
    """A shell script that fetches the models one after the other, then does the job.

    The URLs are signed for AWS's own name of the bucket, which machines reach. The image has no
    client that speaks TLS, so the machine's curl is used.
    """
    signer = without_endpoint("s3", aws.region)
    keys = [one["Key"] for one in aws.s3.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)["Contents"]]
    urls = {
        key: signer.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
        for key in keys
    }
    curl = "chroot /host env -i PATH=/usr/bin:/bin curl -sSf --create-dirs"
    fetches = [f"{curl} -o /opt/fetched/{Path(key).name} '{url}'" for key, url in urls.items()]
    lines = ["set -e", *fetches, "MODELS_DIR=/host/opt/fetched exec /app/batch-processor"]
    return "\n".join(lines)


def without_endpoint(service: str, region: str) -> Any:
    """A client of AWS's own names: it only signs here."""
    endpoint = os.environ.pop("AWS_ENDPOINT_URL")
    try:
        return boto3.Session().client(service, region_name=region)  # type: ignore[call-overload]
    finally:
        os.environ["AWS_ENDPOINT_URL"] = endpoint


def seconds_to(job: dict[str, Any], stage: str) -> float:
    """Seconds from SubmitJob."""
    return float(job["times"][stage] - job["times"]["submitted"])


def show(jobs: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(
        title=f"One job, seconds after SubmitJob: min / median / max; {LINK_MB_S:.1f} MB/s"
    )
    table.add_column("stage")
    for name in jobs:
        table.add_column(name, justify="right")
    for stage, title in zip(STAGES, NAMES, strict=True):
        table.add_row(title, *(spread([seconds_to(j, stage) for j in runs])
                               for runs in jobs.values()))  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
