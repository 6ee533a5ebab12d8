"""How a bake's time, AWS calls and memory grow: with models, images, bakes at once, AMIs kept.

`python benchmarks/scale.py` starts a local cloud of recorded machines, on which every change of
state and every command is done at once: what is left is the work of the program itself. For bakes
at once each AWS call takes 50 ms, as over a network: else twenty threads and the cloud, which
share the machine's cores, would be timed against each other. The processor's seconds are the
program's own. Each point is a process of its own, with an access key by which its calls are told
apart.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ami_provider import tags  # noqa: E402
from ami_provider.aws import Aws  # noqa: E402
from ami_provider.bake import BakedImage, bake  # noqa: E402
from ami_provider.claims import read_claim  # noqa: E402
from ami_provider.contents import ContainerImage, Model  # noqa: E402
from ami_provider.deleting import Owner, delete_ami  # noqa: E402
from ami_provider.ownership import claim_image, keep_for_rollback  # noqa: E402
from ami_provider.recipe import ExtraStep, ImageRecipe, SystemUpdate  # noqa: E402
from ami_provider.resolve import resolve  # noqa: E402
from ami_provider.site import BuildSite, Lineage  # noqa: E402
from benchmarks.measuring import Target, control, finish, spread  # noqa: E402
from local_cloud.calls import read_calls  # noqa: E402
from local_cloud.push import push_image  # noqa: E402

SUBNET, GROUP = "subnet-0a10ca10000000001", "sg-0a10ca1000000000f"
BUCKET = "scale-models"
REGISTRY = f"123456789012.dkr.ecr.{os.environ.get('AWS_REGION', 'ap-northeast-2')}.amazonaws.com"
POINTS = {
    "models": (1, 10, 100, 1000),
    "images": (1, 3, 10),
    "bakes at once": (1, 5, 20),
    "AMIs kept": (1, 20, 200),
}
RECIPE = ImageRecipe(images=(ContainerImage(repository=f"{REGISTRY}/scale-0", tag="latest"),))
LATENCIES = {"bakes at once": {"call": 0.05}}
"""What takes time on the cloud while these are measured; nothing does for the others."""
LONG_S = 10.0
SLACK = 1.15
"""How much more than in proportion the last point may be to the one before it: noise of the clock.
Whatever grows in proportion, on top of a fixed part, stays below 1."""


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--state", hidden=True, type=click.Path(path_type=Path))
@click.option("--one", hidden=True, type=(str, int))
def main(
    rounds: int, result_file: Path | None, state: Path | None, one: tuple[str, int] | None
) -> None:
    """Exits 1 where something grows faster than in proportion."""
    if one:
        print(json.dumps(measure(*one)))
        return
    if state is None:
        with tempfile.TemporaryDirectory(prefix="benchmark-scale-") as folder:
            place = str(Path(folder) / "state")
            own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--state", place]
            cloud = ["local_cloud", "run", "--recorded", "--state", place, "--"]
            run = [sys.executable, "-m", *cloud, *own]
            sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    prepare()
    curves = {
        kind: [take_point(state, kind, many, rounds) for many in points]
        for kind, points in POINTS.items()
    }
    show(curves)
    targets = [target for kind, rows in curves.items() for target in judge(kind, rows)]
    sys.exit(finish({"curves": curves}, targets, result_file))


def prepare() -> None:
    """A role for builders, the models and the repositories of the longest points."""
    iam, s3, ecr = boto3.client("iam"), boto3.client("s3"), boto3.client("ecr")
    iam.create_role(RoleName="builder", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="builder")
    iam.add_role_to_instance_profile(InstanceProfileName="builder", RoleName="builder")
    here: Any = {"LocationConstraint": os.environ["AWS_REGION"]}
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=here)
    for many in POINTS["models"]:
        for number in range(many):
            key, body = f"{many}/{number:04}.bin", f"{many} {number}".encode()
            s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="SHA256")
    for number in range(max(POINTS["images"])):
        ecr.create_repository(repositoryName=f"scale-{number}")
        push_image(ecr, os.environ["AWS_ENDPOINT_URL"], repository=f"scale-{number}",
                   tag="latest", note=str(number), mib=0)  # fmt: skip


def take_point(state: Path, kind: str, many: int, rounds: int) -> dict[str, Any]:
    """One point of a curve: the round with the median time of several; of a long one the first."""
    control("latency", LATENCIES.get(kind, {}))
    taken: list[dict[str, Any]] = []
    while len(taken) < rounds and not (taken and taken[-1]["seconds"] > LONG_S):
        taken.append(run_one(state, kind, many, len(taken)))
    taken.sort(key=lambda one: float(one["seconds"]))
    return {**taken[len(taken) // 2], "all_seconds": [one["seconds"] for one in taken]}


def run_one(state: Path, kind: str, many: int, number: int) -> dict[str, Any]:
    """One round of it, in a process of its own."""
    key = f"{kind}-{many}-{number}".replace(" ", "-")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--one", kind, str(many)],
        cwd=ROOT, env=os.environ | {"AWS_ACCESS_KEY_ID": key}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{kind} {many} failed:\n{done.stderr[-3000:]}")
    calls = [c for c in read_calls(state / "calls.jsonl") if c["access_key"] == key]
    found: dict[str, Any] = json.loads(done.stdout)
    made = [call for call in calls if call["time"] >= found["begun"]]
    return {"many": many, "calls": len(made), **found}


def measure(kind: str, many: int) -> dict[str, Any]:
    """In a process of its own: seconds of the work, on the clock and of this process on the
    processor, and the most memory so far, in MiB."""
    work, name = KINDS[kind], os.environ["AWS_ACCESS_KEY_ID"]
    aws = Aws(os.environ["AWS_REGION"])
    _ = aws.ec2, aws.ec2_once, aws.ssm, aws.ecr, aws.s3  # made once in a process, whatever it bakes
    if kind == "AMIs kept":
        keep_earlier(aws, name, many)
    begun, started, used = time.time(), time.perf_counter(), time.process_time()
    work(aws, name, many)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "begun": begun, "seconds": round(seconds, 2), "cpu_seconds": round(used, 2),
        "memory_mib": round(memory, 1),
    }  # fmt: skip


def bake_models(aws: Aws, name: str, many: int) -> None:
    folder = Model(source=f"s3://{BUCKET}/{many}/", destination="/opt/ml/models/")
    make(aws, name, models=(folder,))


def bake_images(aws: Aws, name: str, many: int) -> None:
    make(aws, name, images=many)


def bake_at_once(aws: Aws, name: str, many: int) -> None:
    with ThreadPoolExecutor(many) as pool:
        for done in [pool.submit(make, aws, f"{name}-{n}") for n in range(many)]:
            done.result()


def keep_earlier(aws: Aws, name: str, many: int) -> None:
    """All but the last AMI of a resource that keeps so many: made without a bake each."""
    lineage = lineage_of(name)
    base = resolve(RECIPE, aws).recipe
    assert base is not None
    machine = aws.ec2.run_instances(
        ImageId=base.base.ami_id, MinCount=1, MaxCount=1, SubnetId=SUBNET, InstanceType="g5.xlarge"
    )["Instances"][0]["InstanceId"]
    for number in range(many - 1):
        named = tags.to_list({tags.FINGERPRINT: f"{name}-{number}", tags.VERIFIED: "yes"})
        image_id = aws.ec2.create_image(
            InstanceId=machine, Name=f"{name}-{number}",
            TagSpecifications=[{"ResourceType": "image", "Tags": named}],
        )["ImageId"]  # fmt: skip
        nonce = claim_image(aws, image_id, lineage, many)
        assert nonce
        keep_for_rollback(aws, image_id, lineage, read_claim(nonce))
    aws.ec2.terminate_instances(InstanceIds=[machine])


def bake_and_destroy(aws: Aws, name: str, many: int) -> None:
    """The last of so many AMIs is baked, then the resource is destroyed with all of them."""
    baked = make(aws, name, keep=many)
    owner = Owner(aws, lineage_of(name), lambda _text: None)
    assert delete_ami(baked.ami_id, owner=owner, nonce=baked.owner_nonce) == "deleted"


KINDS: dict[str, Callable[[Aws, str, int], None]] = {
    "models": bake_models,
    "images": bake_images,
    "bakes at once": bake_at_once,
    "AMIs kept": bake_and_destroy,
}


def lineage_of(name: str) -> Lineage:
    return Lineage(project="scale", stack="bench", name=name, urn=f"urn:{name}")


def make(
    aws: Aws,
    name: str,
    *,
    images: int = 1,
    models: tuple[Model, ...] = (),
    keep: int = 0,
) -> BakedImage:
    """Look everything up as a preview does, then bake."""
    recipe = ImageRecipe(
        images=tuple(
            ContainerImage(repository=f"{REGISTRY}/scale-{n}", tag="latest") for n in range(images)
        ),
        models=models,
        extra_steps=(ExtraStep(name="content", script=f"echo {name}"),),
        system_update=SystemUpdate(enabled=False),
    )
    site = BuildSite(
        region=aws.region,
        subnet_ids=(SUBNET,),
        security_group_ids=(GROUP,),
        instance_profile="builder",
        verify="off",
    )
    resolved = resolve(recipe, aws).recipe
    assert resolved is not None
    return bake(resolved, site, lineage_of(name), aws=aws, report=lambda _text: None, keep=keep)


def judge(kind: str, rows: list[dict[str, Any]]) -> list[Target]:
    """Growth from the last but one point to the last, as a share of what in proportion would be."""
    before, last = rows[-2:]
    times = last["many"] / before["many"]
    return [
        Target(f"{kind}, {before['many']} to {last['many']}: {what}, against in proportion",
               round(last[name] / before[name] / times, 3), most=SLACK)
        for name, what in (("seconds", "time"), ("cpu_seconds", "processor's time"),
                           ("calls", "AWS calls"), ("memory_mib", "memory"))
    ]  # fmt: skip


def show(curves: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(title="What grows with what, recorded machines")
    for head in ("of what", "how many", "s, min / median / max", "processor s", "AWS calls", "MiB"):
        table.add_column(head, justify="left" if head == "of what" else "right")
    for kind, rows in curves.items():
        for row in rows:
            table.add_row(kind, str(row["many"]), spread(row["all_seconds"]),
                          f"{row['cpu_seconds']:.1f}", str(row["calls"]),
                          f"{row['memory_mib']:.0f}")  # fmt: skip
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
