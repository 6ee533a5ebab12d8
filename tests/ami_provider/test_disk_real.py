"""What is on a baked disk before its first boot; what a check refuses when it is planted there."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ami_provider.errors import BakeError
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image
from ami_provider.images import create_image, wait_until_available
from ami_provider.verify import verify
from local_cloud.machines.real import RealDisks
from local_cloud.registry import Scope
from tests.ami_provider.clouds import Bakery, extra, open_bakery
from tests.ami_provider.disk_scan import find_bytes, scan_image
from tests.ami_provider.real_machines import create_job, do, running

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("baked-disk")]

# What people's own steps leave behind, and what the machine itself does.
LEAVE = """
mkdir -p /root/.docker /root/.aws /home/ec2-user/.ssh /root/.ssh
echo '{"auths": {"r": {"auth": "QVdTOmV5SndZWGxzYjJGa0lqb2k="}}}' >/root/.docker/config.json
echo "aws_secret_access_key = $(head -c 30 /dev/zero | base64)" >/root/.aws/credentials
echo 'ssh-ed25519 AAAA me' | tee /root/.ssh/authorized_keys >/home/ec2-user/.ssh/authorized_keys
echo 'docker login -p hunter22' | tee /root/.bash_history >/home/ec2-user/.bash_history
echo x >/tmp/x; echo y >/var/tmp/y; echo z >/var/log/z.log
mkdir -p /var/lib/ecs/data; echo arn >/var/lib/ecs/data/agent.db
head -c 16 /dev/zero | md5sum | cut -c 1-32 >/etc/machine-id
"""
PLANT = """
mkdir -p /opt/app /root/.docker /home/ec2-user/.ssh /home/ec2-user/.aws /var/lib/ecs/data
echo '{"auths": {"r": {"auth": "QVdTOmV5SndZWGxzYjJGa0lqb2k="}}}' >/root/.docker/config.json
echo '[default]' >/home/ec2-user/.aws/credentials
echo "AWS_SECRET_ACCESS_KEY=$(head -c 30 /dev/zero | base64)" >/opt/app/.env
echo 'ssh-ed25519 AAAA me' >/home/ec2-user/.ssh/authorized_keys
echo 'a key' >/home/ec2-user/.ssh/id_ed25519
echo 'docker login' >/root/.bash_history
echo 'an old arn' >/var/lib/ecs/data/agent.db
sync
"""
PLANTED = {
    "credential of Docker": "/root/.docker/config.json",
    "credential of AWS": "/home/ec2-user/.aws/credentials",
    "credential in a file": "/opt/app/.env",
    "key that lets in": "/home/ec2-user/.ssh/authorized_keys",
    "key of its own": "/home/ec2-user/.ssh/id_ed25519",
    "history": "/root/.bash_history",
    "identity of the agent": "/var/lib/ecs/data holds an agent's state",
}


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=True) as bakery:
        yield bakery


def attach(bakery: Bakery, snapshot_id: str) -> Path:
    """The file of a volume made from the snapshot, which no machine has booted from."""
    zone = f"{bakery.cloud.region}a"
    volume = bakery.aws.ec2.create_volume(SnapshotId=snapshot_id, AvailabilityZone=zone)
    assert isinstance(bakery.cloud.disks, RealDisks)
    return bakery.cloud.disks.volume_path(volume["VolumeId"])


def list_secrets(bakery: Bakery, tokens: list[str]) -> list[bytes]:
    """What machines were given while they worked: their role's keys, and the registry's tokens."""
    held = bakery.cloud.store.table("ec2 role credentials").values()
    found = [keys[name] for _, keys in held for name in ("SecretAccessKey", "Token")]
    for token in tokens:
        found += [token, base64.b64encode(f"AWS:{token}".encode()).decode()]
    return [text.encode() for text in found]


def test_the_baked_disk_holds_nothing_of_the_builder(
    bakery: Bakery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, tokens = bakery.cloud.registry, []
    create = registry.create_token

    def note_token(scope: Scope) -> tuple[str, datetime]:
        made: tuple[str, datetime] = create(scope)
        tokens.append(made[0])
        return made

    monkeypatch.setattr(registry, "create_token", note_token)
    baked = bakery.bake(bakery.resolve(extra_steps=extra("leave", LEAVE)))

    disk = attach(bakery, baked.snapshot_ids[0])
    found = scan_image(disk, tmp_path / "disk")
    secrets = list_secrets(bakery, tokens)

    assert found == {}
    assert tokens
    assert len(secrets) > 2
    told = baked.fingerprint.encode()  # In the manifest: what is there is found.
    assert find_bytes(disk, [told, *secrets]) == [baked.fingerprint]


def test_one_of_each_that_is_planted_is_refused(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    baked = bakery.bake(recipe, bakery.site(verify="off"))
    job = create_job(bakery, recipe)
    with running(job, "builder", baked.ami_id) as machine:
        do(job, machine, PLANT)
        delete_image(job.aws, Image(baked.ami_id, baked.name, "", baked.snapshot_ids))
        image = wait_until_available(job, create_image(job, machine.id))

    with pytest.raises(BakeError, match="is refused") as raised:
        verify(job, image)

    missed = [what for what, told in PLANTED.items() if told not in raised.value.details]
    assert missed == []
    log = raised.value.details.rpartition("The whole log of every step: ")[2]
    Path(log).unlink()


def test_the_scan_itself_finds_one_of_each(bakery: Bakery, tmp_path: Path) -> None:
    """A disk that was made without the clean-up: the scan of the good one would have seen it."""
    recipe = bakery.resolve()
    job = create_job(bakery, recipe)
    with running(job, "builder", recipe.base.ami_id) as machine:
        do(job, machine, LEAVE + PLANT)
        image = wait_until_available(job, create_image(job, machine.id))

    disk = attach(bakery, image.snapshot_ids[0])
    found = scan_image(disk, tmp_path / "disk")

    assert found.keys() == {"credential", "key", "history", "identity", "rest", "secret"}
