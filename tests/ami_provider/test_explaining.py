"""A change of content, in the words that a preview has for it."""

from __future__ import annotations

import pytest

from ami_provider.explaining import explain
from ami_provider.recipe import AgentSettings, ExtraStep, RootVolume, SystemUpdate
from tests.ami_provider.samples import resolved
from tests.ami_provider.test_fingerprint import (
    Change,
    base_with,
    first_image,
    first_model,
    having,
    second_model,
)

STEP_A, STEP_B = ExtraStep(name="a", script="true"), ExtraStep(name="b", script="true")

EXPLAINED: list[tuple[str, Change, list[str]]] = [
    ("model", first_model(sha256="cd34" + "0" * 60),
     ["model a.pt: sha256 111111111111… -> cd3400000000…"]),
    ("image", first_image(digest=f"sha256:{'c' * 64}"),
     ["image batch-processor:latest: digest sha256:aaaaaaaaaaaa… -> sha256:cccccccccccc…"]),
    ("base", base_with(ami_id="ami-2", name="newer"),
     ["base AMI: ami-00000000000000001 (al2023-ami-ecs-gpu-hvm-2023.0.1-x86_64-ebs) -> "
      "ami-2 (newer)"]),
    ("image gone", lambda r: {"images": r.images[:1]},
     ["image batch-processor-2: removed (digest sha256:bbbbbbbbbbbb…)"]),
    ("model moved", second_model(destination="/opt/b.pt"),
     ["model b.pt: moved /opt/ml/b.pt -> /opt/b.pt"]),
    ("model gone", lambda r: {"models": r.models[1:]},
     ["model a.pt: removed (sha256 111111111111…)"]),
    ("model added", lambda r: {"models": (*r.models, r.models[0].model_copy(
        update={"destination": "/opt/ml/c.pt"}))}, ["model c.pt: added (sha256 111111111111…)"]),
    ("model pinned", second_model(sha256="cd34" + "0" * 60),
     ["model b.pt: S3 etag eeeeeeeeeeee…, 5 B -> sha256 cd3400000000…"]),
    ("model unpinned", first_model(sha256=None, etag="f" * 32, size_bytes=1_850_000_000),
     ["model a.pt: sha256 111111111111… -> S3 etag ffffffffffff…, 1.85 GB"]),
    ("model of S3", second_model(etag="f" * 32, size_bytes=5_000, version_id=None),
     ["model b.pt: etag eeeeeeeeeeee… -> ffffffffffff…, version v1 -> none, size 5 B -> 5 kB"]),
    ("model elsewhere", second_model(source="s3://n/b.pt"),
     ["model b.pt: source s3://m/b.pt -> s3://n/b.pt"]),
    ("model version", second_model(version_id="v2"), ["model b.pt: version v1 -> v2"]),
    ("step", having(extra_steps=(STEP_A,)), ["extra step a: added"]),
    ("agent", having(agent=AgentSettings(image_pull_behavior="once")),
     ["ECS agent: image pull behavior prefer-cached -> once"]),
    ("agent extra", having(agent=AgentSettings(extra={"ECS_LOGLEVEL": "warn"})),
     ["ECS agent: ECS_LOGLEVEL none -> warn"]),
    ("gpu", having(agent=AgentSettings(gpu_support=False)), ["ECS agent: GPU support on -> off"]),
    ("agent's times", having(agent=AgentSettings(spot_draining=False, start_timeout_s=90)),
     ["ECS agent: spot draining on -> off", "ECS agent: start time-out in s 600 -> 90"]),
    ("volume", having(root_volume=RootVolume(size_gib=60, iops=4000)),
     ["root volume: IOPS default -> 4000", "root volume: size 30 GiB -> 60 GiB"]),
    ("update", having(system_update=SystemUpdate(enabled=False)),
     ["system update: on -> off"]),
    ("held", having(system_update=SystemUpdate(hold=("docker*", "kernel*", "nvidia*"))),
     ["system update: also holds docker*; no longer holds cuda*, libnvidia*"]),
    ("key", having(encryption_key="alias/ami"), ["encryption key: none -> alias/ami"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "lines"), EXPLAINED, ids=[e[0] for e in EXPLAINED])
def test_a_change_is_told_in_words(name: str, change: Change, lines: list[str]) -> None:
    old = resolved()
    new = old.model_copy(update=change(old))
    labels = {i.repository: i.label for i in old.images}
    assert explain(old.manifest(), new.manifest(), labels) == lines


def test_a_change_of_order_of_steps_is_told() -> None:
    old = resolved().model_copy(update={"extra_steps": (STEP_A, STEP_B)})
    new = resolved().model_copy(update={"extra_steps": (STEP_B, STEP_A)})
    assert explain(old.manifest(), new.manifest()) == ["extra steps: order a, b -> b, a"]


def test_another_script_of_a_step_is_told() -> None:
    old = resolved().model_copy(update={"extra_steps": (STEP_A,)})
    new = old.model_copy(update={"extra_steps": (ExtraStep(name="a", script="false"),)})
    (line,) = explain(old.manifest(), new.manifest())
    assert line.startswith("extra step a: another script (sha256 ")


def test_files_of_one_name_are_told_by_their_paths() -> None:
    old = {"models": [{"destination": f"/opt/{at}/m.pt", "sha256": at * 64} for at in "ab"]}
    new = {"models": [{"destination": f"/opt/{at}/m.pt", "sha256": "c" * 64} for at in "ab"]}
    assert explain(old, new)[0] == "model /opt/a/m.pt: sha256 aaaaaaaaaaaa… -> cccccccccccc…"
