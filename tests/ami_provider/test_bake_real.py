"""Bakes on machines that really run the steps, with a real Docker engine and registry."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ami_provider.commands import read_file
from ami_provider.course import list_builder_stages
from ami_provider.deleting import Owner, delete_ami
from ami_provider.errors import BakeError
from ami_provider.image_removal import delete_image
from ami_provider.image_state import Image
from ami_provider.images import create_image, wait_until_available
from ami_provider.machines import Machine, terminate_machine, wait_until_ready
from ami_provider.provision import provision
from ami_provider.recipe import BaseAmi, SystemUpdate
from ami_provider.verify import verify
from tests.ami_provider.clouds import EMPTY, ONE_AMI, Bakery, extra, open_bakery
from tests.ami_provider.real_machines import create_job, do, running
from tests.waiting import PATIENT

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("real-bakes")]

# Every file of the disk with its bytes and mode; not what a running system writes by itself.
NOT_LISTED = ("/run", "/tmp", "/var/tmp", "/var/log", "/var/lib/docker", "/var/lib/containerd",
              "/var/lib/systemd", "/var/lib/amazon/ssm")  # fmt: skip
LIST_DISK = f"""
find / -xdev \\( -path {" -o -path ".join(NOT_LISTED)} \\) -prune \
  -o -type f -print0 >/run/disk.names
{{ xargs -0 stat -c '%a %U %n' </run/disk.names; xargs -0 sha256sum </run/disk.names; }} \
  | LC_ALL=C sort >TARGET
"""
MARK = r"""
echo hello >/opt/mark
device=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
cat "/sys/class/net/$device/statistics/rx_bytes" >/opt/received
"""


@pytest.fixture(scope="module")
def bakery() -> Iterator[Bakery]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=True) as bakery:
        yield bakery


@pytest.fixture(autouse=True)
def nothing_before(bakery: Bakery) -> None:
    assert bakery.count() == EMPTY


def delete(bakery: Bakery, ami_id: str, nonce: str) -> None:
    owner = Owner(bakery.aws, bakery.lineage(), bakery.said.append)
    told = delete_ami(ami_id, owner=owner, nonce=nonce)
    assert told == "deleted"


def test_from_an_empty_base_to_a_verified_ami(bakery: Bakery) -> None:
    recipe = bakery.resolve(extra_steps=extra("mark", MARK))

    baked = bakery.bake(recipe)

    assert bakery.count() == ONE_AMI
    for model in recipe.models:
        bucket, _, key = model.source.removeprefix("s3://").partition("/")
        content = bakery.aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert baked.model_checksums[model.destination] == hashlib.sha256(content).hexdigest()
    job = create_job(bakery, recipe)
    with running(job, "verifier", baked.ami_id) as machine:
        manifest = json.loads(read_file(job.aws, machine.id, "/etc/baked-ami/manifest.json"))
        config = read_file(job.aws, machine.id, "/etc/ecs/ecs.config").splitlines()
        mark = do(job, machine, "cat /opt/mark; docker image ls --digests --no-trunc")
        received = int(do(job, machine, "cat /opt/received"))
    assert manifest["fingerprint"] == baked.fingerprint
    assert manifest["models"] == baked.model_checksums
    assert manifest["packages"]
    assert "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached" in config
    assert mark.startswith("hello")
    assert recipe.images[0].digest in mark
    # Everything came once: what is more are headers, commands and TLS.
    size = sum(image.size_bytes or 0 for image in recipe.images)
    size += sum(model.size_bytes or 0 for model in recipe.models)
    assert size <= received <= 1.1 * size + 2**20
    delete(bakery, baked.ami_id, baked.owner_nonce)
    assert bakery.count() == EMPTY


@pytest.mark.parametrize("base", ["al2023-gpu", "al2-gpu"])
def test_each_step_a_second_time_changes_nothing(bakery: Bakery, base: str) -> None:
    recipe = bakery.resolve(base=BaseAmi(source=base))
    job = create_job(bakery, recipe)
    with running(job, "builder", recipe.base.ami_id) as machine:
        provision(job, machine)
        do(job, machine, LIST_DISK.replace("TARGET", "/run/disk.first"))
        for step in (step for stage in list_builder_stages(job.recipe) for step in stage.steps):
            do(job, machine, f"bash /run/baked-ami/steps/{step.name}.sh")
        do(job, machine, LIST_DISK.replace("TARGET", "/run/disk.second"))

        changed = do(job, machine, "diff /run/disk.first /run/disk.second || true")
        listed = do(job, machine, "wc -l </run/disk.first")

    assert changed.strip() == ""
    assert int(listed) > 100


PLANT = """
mkdir -p /opt/app /etc/systemd/system /root/.kube
echo "AWS_SECRET_ACCESS_KEY=$(head -c 30 /dev/zero | base64 | head -c 40)" >/opt/app/.env
printf -- '-----BEGIN PRIVATE KEY-----\\n' >/etc/app.pem
echo "machine x login y password z" >/root/.netrc
echo "users:" >/root/.kube/config
echo "ECS_CLUSTER=mine" >>/etc/ecs/ecs.config
echo "ExecStart=/sbin/shutdown -h +5" >/etc/systemd/system/end.service
"""


def test_what_an_extra_step_plants_is_refused(bakery: Bakery) -> None:
    with pytest.raises(BakeError, match="is refused") as raised:
        bakery.bake(bakery.resolve(extra_steps=extra("plant", PLANT)))

    for place in ("/opt/app/.env", "/etc/app.pem", "/root/.netrc", "/root/.kube/config",
                  "names a cluster", "/etc/systemd/system/end.service"):  # fmt: skip
        assert place in raised.value.details
    assert bakery.count() == EMPTY


def test_an_ami_whose_content_was_changed_is_refused(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    baked = bakery.bake(recipe, bakery.site(verify="off"))
    job = create_job(bakery, recipe)
    model = recipe.models[0].destination
    layer = "$(find /var/lib/docker/overlay2 -path '*/diff/*' -type f | sort | head -n 1)"
    with running(job, "builder", baked.ami_id) as machine:
        do(job, machine, f"printf x | dd of={model} bs=1 seek=9 conv=notrunc; rm {layer}; sync")
        delete_image(job.aws, Image(baked.ami_id, baked.name, "", baked.snapshot_ids))
        image = wait_until_available(job, create_image(job, machine.id))

    with pytest.raises(BakeError, match="is refused") as raised:
        verify(job, image)

    assert f"not right (model-checksum): {model}" in raised.value.details
    assert "not right (image-broken)" in raised.value.details
    delete(bakery, image.id, "")
    assert bakery.count() == EMPTY


def test_the_smoke_command_runs_beside_the_models_or_refuses_the_ami(bakery: Bakery) -> None:
    recipe = bakery.resolve()
    model = recipe.models[0].destination

    command = f"test -s {model} && nvidia-smi -L"
    bakery.aws.s3.create_bucket(
        Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"}
    )

    site = bakery.site(smoke_command=command, logs="s3://logs/team/")
    baked = bakery.bake(recipe, site)
    job = create_job(bakery, recipe)
    delete(bakery, baked.ami_id, baked.owner_nonce)

    listed = bakery.aws.s3.list_objects_v2(Bucket="logs")["Contents"]
    kept = {entry["Key"].rpartition("/")[2]: entry["Key"] for entry in listed}
    steps = [step.name for stage in list_builder_stages(job.recipe) for step in stage.steps]
    assert kept.keys() == {f"{name}.log" for name in [*steps, "verify"]}
    assert all(key.startswith(f"team/{baked.name}/i-") for key in kept.values())
    log = bakery.aws.s3.get_object(Bucket="logs", Key=kept["verify.log"])["Body"].read().decode()
    assert "the smoke command succeeded" in log
    assert "GPU 0: NVIDIA A10G" in log
    with pytest.raises(BakeError, match=r"is refused.*smoke command failed") as raised:
        bakery.bake(recipe, bakery.site(smoke_command="echo no such class; exit 3"))

    assert "no such class" in raised.value.details
    assert "exit code 3" in raised.value.details
    assert bakery.count() == EMPTY


def test_a_failing_step_tells_its_log_and_leaves_nothing(bakery: Bakery) -> None:
    script = "for i in $(seq 3000); do echo line $i of a long log; done; echo the reason; exit 7"

    with pytest.raises(BakeError, match="could not run the extra step broken") as raised:
        bakery.bake(bakery.resolve(extra_steps=extra("broken", script)))

    assert "exit code 7" in raised.value.details
    shown, _, log = raised.value.details.partition("\nThe whole log of every step: ")
    assert shown.endswith("line 3000 of a long log\nthe reason")
    assert "line 1 of a long log\n" not in shown
    assert "line 1 of a long log\n" in Path(log).read_text()
    Path(log).unlink()
    assert bakery.count() == EMPTY


@pytest.mark.parametrize("capacity", ["spot", "on-demand"])
def test_a_kept_builder_stays_for_hours_and_then_ends_by_itself(
    bakery: Bakery, capacity: str
) -> None:
    """A spot machine runs on; an on-demand one is stopped, and once started has its time too."""
    recipe = bakery.resolve(
        models=(), system_update=SystemUpdate(enabled=False), extra_steps=extra("broken", "exit 7")
    )
    with pytest.raises(BakeError, match="could not run the extra step broken") as raised:
        bakery.bake(recipe, bakery.site(on_failure="keep", capacity=capacity))

    Path(raised.value.details.rpartition("The whole log of every step: ")[2]).unlink()
    assert bakery.count() == EMPTY | {"machines": 1, "volumes": 1}
    found = re.search(r"terminate-instances --region \S+ --instance-ids (i-\w+)", str(raised.value))
    assert found
    job, machine = create_job(bakery, recipe), Machine(found[1], "g5.xlarge", capacity)
    logs, named = "/run/baked-ami/log", "baked-ami-deadline-"
    if capacity == "on-demand":
        ec2, logs, named = bakery.aws.ec2, "/var/log/baked-ami", "baked-ami-kept."
        ec2.get_waiter("instance_stopped").wait(InstanceIds=[machine.id], WaiterConfig=PATIENT)
        ec2.start_instances(InstanceIds=[machine.id])
    wait_until_ready(job, machine)

    asked = "date +%s; systemctl list-timers --all --output=json 'baked-ami-*'"
    (now, *timers), log = do(job, machine, asked).splitlines(), do(job, machine, f"ls {logs}")
    terminate_machine(job, machine.id)
    (timer,) = json.loads("".join(timers))
    assert timer["unit"].startswith(named)
    assert 3.9 < (timer["next"] / 1e6 - int(now)) / 3600 < 4.5
    assert "60-01-broken.log" in log
    assert bakery.count() == EMPTY
