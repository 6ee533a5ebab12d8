"""An incremental bake on machines that really run: the same disk as from scratch, for less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ami_provider import tags
from ami_provider.bake import BakedImage
from ami_provider.contents import ContainerImage, Model
from ami_provider.deleting import Owner, delete_ami
from ami_provider.recipe import AgentSettings
from ami_provider.resolved import ResolvedRecipe
from local_cloud.machines.real import RealDisks, RealMachines
from local_cloud.push import push_image
from tests.ami_provider.clouds import Bakery, open_bakery
from tests.ami_provider.disk_content import read_disk

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("incremental")]

MIB = 2**20
MODELS = "s3://local-ml-models/models"
DETECTOR, CLASSIFIER, EMBEDDER = "detector.pt", "classifier.onnx", "embedder.safetensors"
"""3 MiB with a SHA-256 in S3, 3 MiB without any checksum, 6 MiB with one of its parts."""
OF_ONE_MACHINE = ("var/lib/amazon/ssm/", "var/tmp/systemd-private-")


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=True) as bakery:
        yield bakery


def resolve(
    bakery: Bakery, images: Mapping[str, str], models: Mapping[str, str], **agent: str
) -> ResolvedRecipe:
    """Images by repository (their tag), models by destination (their name), agent settings."""
    registry = f"{bakery.cloud.account}.dkr.ecr.{bakery.cloud.region}.amazonaws.com"
    return bakery.resolve(
        images=tuple(
            ContainerImage(repository=f"{registry}/{name}", tag=tag) for name, tag in images.items()
        ),
        models=tuple(Model(source=f"{MODELS}/{s}", destination=d) for d, s in models.items()),
        agent=AgentSettings(extra=agent),
    )


def push(bakery: Bakery, repository: str, tag: str) -> None:
    """8 MiB of framework in one layer that all of them share, and an app of each one's own."""
    endpoint, ecr = bakery.cloud.endpoint, bakery.aws.ecr
    push_image(ecr, endpoint, repository=repository, tag=tag, note=tag, mib=8)


@dataclass(frozen=True)
class Baked:
    """A bake as the account shows it: bytes that came over the link, and what the disk holds."""

    image: BakedImage
    noted: dict[str, str]
    pulled: int
    held: int
    disk: dict[str, str]


class Traffic:
    """What came over the links of all machines that this client launched."""

    def __init__(self, bakery: Bakery) -> None:
        assert isinstance(bakery.cloud.machines, RealMachines)
        assert bakery.cloud.machines.link is not None
        self._link = bakery.cloud.machines.link
        self._addresses: set[str] = set()
        events = bakery.aws.ec2_once.meta.events
        events.register("after-call.ec2.RunInstances", self._note)

    def _note(self, parsed: dict[str, Any], **_: Any) -> None:
        self._addresses |= {one["PrivateIpAddress"] for one in parsed.get("Instances", ())}

    def count(self) -> int:
        return sum(self._link.moved(address)[0] for address in self._addresses)


def bake(
    bakery: Bakery, traffic: Traffic, recipe: ResolvedRecipe, folder: Path, *, incremental: int
) -> Baked:
    before = traffic.count()
    image = bakery.bake(recipe, bakery.site(incremental=incremental))
    pulled = traffic.count() - before
    ec2, disks = bakery.aws.ec2, bakery.cloud.disks
    assert isinstance(disks, RealDisks)
    (snapshot,) = image.snapshot_ids
    volume = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=f"{bakery.cloud.region}a")
    disk = read_disk(disks.volume_path(volume["VolumeId"]), folder)
    ec2.delete_volume(VolumeId=volume["VolumeId"])
    described = ec2.describe_images(ImageIds=[image.ami_id])["Images"][0]
    held = disks.usage(snapshot).unique_bytes
    return Baked(image, tags.to_mapping(described["Tags"]), pulled, held, disk)


def without_machines_own(disk: Mapping[str, str]) -> dict[str, str]:
    return {name: what for name, what in disk.items() if not name.startswith(OF_ONE_MACHINE)}


def test_the_disk_is_the_same_as_from_scratch_and_only_what_is_missing_is_pulled(
    bakery: Bakery, tmp_path: Path
) -> None:
    """Another image, one gone; models kept, moved, gone and new; settings changed and gone."""
    bakery.aws.ecr.create_repository(repositoryName="sidecar")
    for repository, tag in (
        ("batch-processor", "one"),
        ("batch-processor", "two"),
        ("sidecar", "x"),
    ):
        push(bakery, repository, tag)
    before = resolve(
        bakery,
        {"batch-processor": "one", "sidecar": "x"},
        {"/opt/ml/models/kept": DETECTOR, "/opt/ml/models/computed": EMBEDDER,
         "/opt/ml/old/deep/gone": CLASSIFIER},
        ECS_FORMER="yes", ECS_LOGLEVEL="debug",
    )  # fmt: skip
    after = resolve(
        bakery,
        {"batch-processor": "two"},
        {"/opt/ml/models/kept": DETECTOR, "/opt/ml/models/computed": EMBEDDER,
         "/opt/ml/old": DETECTOR, "/srv/new/model": CLASSIFIER},
        ECS_LOGLEVEL="info",
    )  # fmt: skip
    traffic = Traffic(bakery)
    first = bake(bakery, traffic, before, tmp_path / "first", incremental=2)
    incremental = bake(bakery, traffic, after, tmp_path / "incremental", incremental=2)

    owner = Owner(bakery.aws, bakery.lineage(), bakery.said.append)
    assert tags.FROM not in first.noted
    assert not [line for line in bakery.said if "given up" in line]
    assert incremental.noted[tags.FROM] == first.image.ami_id
    assert incremental.noted[tags.GENERATION] == "1"
    gone = incremental.image
    assert delete_ami(gone.ami_id, owner=owner, nonce=gone.owner_nonce) == "deleted"
    scratch = bake(bakery, traffic, after, tmp_path / "scratch", incremental=0)

    assert scratch.image.fingerprint == incremental.image.fingerprint
    assert tags.FROM not in scratch.noted
    wanted = without_machines_own(scratch.disk)
    assert sum(name.startswith("layer ") for name in wanted) == 3
    assert not any(name.startswith("folder of no layer") for name in wanted)
    assert any(name == "opt/ml/models/computed" for name in wanted)
    assert without_machines_own(incremental.disk) == wanted
    machines = [name for name in incremental.disk if name.startswith("var/lib/amazon/ssm/i-")]
    assert len({name.split("/")[4] for name in machines}) == 1, "no earlier builder's records"
    assert incremental.image.model_checksums == scratch.image.model_checksums

    # Two models of 3 MiB; the layers that are shared and the models that stay are not fetched.
    assert incremental.pulled < 7 * MIB
    assert scratch.pulled > 19 * MIB
    assert incremental.held < scratch.held
