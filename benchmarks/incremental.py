"""An incremental bake beside a full one: one changed layer of the seventeen of an image.

`python benchmarks/incremental.py` starts a local cloud whose machines run, on a link of a set
speed. Each round bakes an image from the base AMI, changes its top layer, and bakes again from
the AMI just made; both with verification. `held` are the blocks of the new snapshot that neither
the base AMI's nor, for the incremental one, the former AMI's snapshot has.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
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
from ami_provider.deleting import Owner, delete_ami  # noqa: E402
from ami_provider.recipe import ImageRecipe  # noqa: E402
from ami_provider.resolve import resolve  # noqa: E402
from ami_provider.site import BuildSite, Lineage  # noqa: E402
from benchmarks.demo_job import create_profile, find_network  # noqa: E402
from benchmarks.measuring import Target, finish, spread  # noqa: E402
from local_cloud.cloud import Cloud  # noqa: E402
from local_cloud.environment import client_environment  # noqa: E402
from local_cloud.latency import profile_of  # noqa: E402
from local_cloud.machines.real import RealDisks, RealMachines  # noqa: E402
from local_cloud.registry import Scope  # noqa: E402
from local_cloud.registry.images import put_image  # noqa: E402
from local_cloud.sample_image import (  # noqa: E402
    Blob,
    StoredLayer,
    canonical,
    make_layered_image,
)
from local_cloud.seed import MODELS as SEED_MODELS  # noqa: E402
from local_cloud.seed import REPOSITORY, TAG, seed_image, seed_models  # noqa: E402

LAYERS = 17
LIMITS = {"seconds": 0.20, "pulled": 0.10, "held": 0.10}
"""The most of the full bake's that the incremental one may take."""
WAYS = ("full", "incremental")
ROLE = "demo-job"
MB = 10**6


@dataclass
class Figures:
    """One bake: seconds in all and by stage, bytes over the machines' links, bytes held."""

    seconds: float
    pulled: int
    held: int
    stages: dict[str, float] = field(default_factory=dict)


@click.command(help=__doc__)
@click.option("--layer-mib", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--link", default=1.0, show_default=True, help="MB/s of a machine's link.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 20))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(layer_mib: int, link: float, rounds: int, result_file: Path | None) -> None:
    """Exits 1 where a limit is not kept."""
    with Cloud() as cloud:
        if not cloud.real:
            raise click.ClickException("this needs machines that run: root on Linux")
        os.environ |= {k: v for k, v in client_environment(cloud).items() if k.startswith("AWS_")}
        seed_image(cloud, mib=1)
        seed_models(cloud, SEED_MODELS, mib=12)
        bench = Bench(cloud, layer_mib)
        cloud.latency.use(profile_of({"link": {"machine_mb_per_s": link}}))
        found: dict[str, list[Figures]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way, figures in bench.run(number):
                found[way].append(figures)
                click.echo(f"round {number + 1}, {way}: {figures.seconds:.0f} s", err=True)
    ratios = show(found, f"{LAYERS} layers of {layer_mib} MiB, a link of {link:g} MB/s")
    told: dict[str, Any] = {way: [asdict(f) for f in all_] for way, all_ in found.items()}
    told |= {"layer_mib": layer_mib, "link_mb_s": link, "ratios": ratios}
    targets = [
        Target(f"{name} of the full bake's", ratios[name], most=limit)
        for name, limit in LIMITS.items()
    ]
    sys.exit(finish(told, targets, result_file))


class Bench:
    """A cloud with an image whose layers are pushed once, and what its bakes cost."""

    def __init__(self, cloud: Cloud, layer_mib: int) -> None:
        assert isinstance(cloud.machines, RealMachines)
        assert isinstance(cloud.disks, RealDisks)
        assert cloud.machines.link is not None
        self.cloud, self.layer_mib = cloud, layer_mib
        self.link, self.disks = cloud.machines.link, cloud.disks
        self.aws, self.profile = Aws(cloud.region), create_profile()
        self.network = find_network(self.aws)
        self.stored: dict[int, StoredLayer] = {}
        self.addresses: set[str] = set()
        events = self.aws.ec2_once.meta.events
        events.register("after-call.ec2.RunInstances", self._note)
        account = boto3.client("sts").get_caller_identity()["Account"]
        self.registry = f"{account}.dkr.ecr.{cloud.region}.amazonaws.com"

    def _note(self, parsed: dict[str, Any], **_: Any) -> None:
        self.addresses |= {one["PrivateIpAddress"] for one in parsed.get("Instances", ())}

    def run(self, number: int) -> Iterator[tuple[str, Figures]]:
        """A full bake, then an incremental one with another top layer; their AMIs go."""
        lineage = Lineage(project="bench", stack=f"round-{number}", name="gpu", urn=f"urn:{number}")
        made = []
        for step, way in enumerate(WAYS):
            self.push([*list(range(LAYERS - 1)), 1000 + 10 * number + step])
            image, figures = self.bake(lineage, incremental=step)
            made.append(image)
            yield way, figures
        for image in made:
            owner = Owner(self.aws, lineage, lambda _: None)
            delete_ami(image.ami_id, owner=owner, nonce=image.owner_nonce)

    def push(self, seeds: list[int]) -> None:
        registry = self.cloud.registry
        scope = Scope(account=self.cloud.account, region=self.cloud.region)

        def store(pieces: Iterator[bytes]) -> Blob:
            upload = registry.blobs.start_upload()
            upload.append(pieces)
            digest = registry.catalogue.add_layer(scope, REPOSITORY, upload, digest=None)
            return Blob(digest=digest, size=upload.size)

        note = str(seeds[-1])
        manifest = make_layered_image(
            store, self.stored, seeds=seeds, mib=self.layer_mib, note=note
        )
        put_image(registry.catalogue, scope, REPOSITORY, canonical(manifest), tag=TAG)

    def bake(self, lineage: Lineage, *, incremental: int) -> tuple[BakedImage, Figures]:
        images = (ContainerImage(repository=f"{self.registry}/{REPOSITORY}", tag=TAG),)
        models = (Model(source="s3://local-ml-models/models/", destination="/opt/ml/models/"),)
        recipe = resolve(ImageRecipe(images=images, models=models), self.aws).recipe
        assert recipe is not None
        subnet, group = self.network
        site = BuildSite(
            region=self.aws.region,
            subnet_ids=(subnet,),
            security_group_ids=(group,),
            instance_profile=ROLE,
            instance_types=("g5.xlarge",),
            incremental=incremental,
        )
        said: list[str] = []
        pulled, started = self.count(), time.perf_counter()
        image = bake(
            recipe, site, lineage, aws=self.aws, report=lambda _: None, announce=said.append
        )
        seconds, pulled = time.perf_counter() - started, self.count() - pulled
        if incremental and not any(line.startswith("an incremental bake") for line in said):
            raise click.ClickException("no incremental bake: " + "; ".join(said))
        while self.aws.ec2.describe_volumes()["Volumes"]:  # They share the snapshot's blocks.
            time.sleep(0.2)
        held = sum(self.disks.usage(one).unique_bytes for one in image.snapshot_ids)
        return image, Figures(round(seconds, 1), pulled, held, image.timings)

    def count(self) -> int:
        """Bytes that came to machines so far."""
        return sum(self.link.moved(address)[0] for address in self.addresses)


def show(found: dict[str, list[Figures]], title: str) -> dict[str, float]:
    """Print the table; gives the incremental bakes' medians as parts of the full ones'."""
    table = Table("What", *WAYS, "ratio", "limit", title=title)
    ratios = {}
    for name, unit in (("seconds", 1), ("pulled", MB), ("held", MB)):
        values = {way: [getattr(f, name) / unit for f in all_] for way, all_ in found.items()}
        medians = {way: statistics.median(each) for way, each in values.items()}
        ratios[name] = round(medians["incremental"] / medians["full"], 4)
        cells = [spread(each) for each in values.values()]
        label = "time, s" if name == "seconds" else f"{name}, MB"
        table.add_row(label, *cells, f"{ratios[name]:.1%}", f"{LIMITS[name]:.0%}")
    table.caption = "minimum / median / maximum"
    Console(width=100).print(table)
    return ratios


if __name__ == "__main__":
    main()
