"""The small parts of a bake: parameters, choices, tokens, waits, stages, names."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ami_provider import launch, parameters, tags, traffic
from ami_provider.aws import Aws
from ami_provider.contents import ContainerImage
from ami_provider.job import Job
from ami_provider.recipe import AgentSettings, ExtraStep, SystemUpdate
from ami_provider.resolved import ResolvedBase, ResolvedImage, ResolvedModel, ResolvedRecipe
from ami_provider.running import SITE as SITE_FILE
from ami_provider.running import get_key
from ami_provider.site import BuildSite, Lineage
from ami_provider.stages import Stages, format_seconds

SITE = BuildSite(
    region="ap-northeast-2",
    subnet_ids=("subnet-0000000a", "subnet-0000000b"),
    security_group_ids=("sg-0000000a",),
    instance_profile="builder",
    instance_types=("g5.xlarge", "g4dn.xlarge"),
)
REPOSITORY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/app"
IMAGE = ResolvedImage(repository=REPOSITORY, digest=f"sha256:{'a' * 64}", tag="latest")
BASE = ResolvedBase(
    source="al2023-gpu", ami_id="ami-0000000a", name="base", family="al2023",
    architecture="x86_64", root_device="/dev/xvda", size_gib=30,
)  # fmt: skip


def recipe(**changes: object) -> ResolvedRecipe:
    return ResolvedRecipe(base=BASE, images=(IMAGE,)).model_copy(update=changes)


def job(site: BuildSite = SITE, made: ResolvedRecipe | None = None) -> Job:
    return Job(
        recipe=made or recipe(), site=site, fingerprint="f" * 64, aws=Aws(site.region),
        lineage=Lineage(project="p", stack="s", name="n", urn="urn:1"),
        stages=Stages(lambda _: None, 1), user_tags={"team": "x"},
    )  # fmt: skip


def files(made: ResolvedRecipe) -> dict[str, str]:
    found = parameters.list_files(made, region="ap-northeast-2", fingerprint="f1", gpu=True)
    return {name: content.decode() for name, content in found.items()}


@given(st.lists(st.text("abc*?$'\" .-", max_size=20), max_size=4))
def test_a_shell_reads_every_setting_as_it_was_given(held: list[str]) -> None:
    made = recipe(system_update=SystemUpdate.model_construct(enabled=True, hold=tuple(held)))
    text = files(made)["parameters"]

    assignments = dict(word.split("=", 1) for word in shlex.split(text))
    assert assignments["HELD_PACKAGES"] == " ".join(held)
    assert assignments["EXPECT_GPU"] == "yes"


def test_models_become_addresses_that_aws_takes() -> None:
    def address(source: str, version_id: str | None = None) -> str:
        return parameters.get_s3_url(
            ResolvedModel(source=source, destination="/opt/m", version_id=version_id), "eu-west-1"
        )

    assert address("s3://b/k") == "https://b.s3.eu-west-1.amazonaws.com/k"
    assert address("s3://b.c/k") == "https://s3.eu-west-1.amazonaws.com/b.c/k"
    assert address("s3://b/a b/ü+?.pt", version_id="v/1") == (
        "https://b.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%2B%3F.pt?versionId=v%2F1"
    )


def test_every_registry_is_logged_in_to_once() -> None:
    china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/app"
    images = (IMAGE, IMAGE, IMAGE.model_copy(update={"repository": china}))

    assert parameters.list_logins(images) == [
        f"{REPOSITORY.partition('/')[0]} api.ecr.ap-northeast-2.amazonaws.com ap-northeast-2",
        f"{china.partition('/')[0]} api.ecr.cn-north-1.amazonaws.com.cn cn-north-1",
    ]
    assert ContainerImage(repository=china, tag="x").repository == china


def test_agent_settings_are_lines() -> None:
    made = recipe(agent=AgentSettings(extra={"ECS_X": "a b"}))

    assert files(made)["agent.config"].splitlines() == [
        "ECS_ENABLE_GPU_SUPPORT=true",
        "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
        "ECS_CONTAINER_START_TIMEOUT=600s",
        "ECS_X=a b",
    ]


@pytest.mark.parametrize(
    ("capacity", "markets"),
    [("spot", "ssss"), ("on-demand", "oooo"), ("spot-then-on-demand", "ssssoooo")],
)
def test_choices_are_types_in_subnets_spot_first(capacity: str, markets: str) -> None:
    site = SITE.model_copy(update={"capacity": capacity})
    choices = launch.list_choices(site, site.instance_types)

    assert "".join(choice.market[0] for choice in choices) == markets
    assert [(c.instance_type, c.subnet_id) for c in choices[:3]] == [
        ("g5.xlarge", "subnet-0000000a"),
        ("g5.xlarge", "subnet-0000000b"),
        ("g4dn.xlarge", "subnet-0000000a"),
    ]


@pytest.mark.parametrize(
    ("wanted", "gib", "rate"),
    [("auto", 1, None), ("auto", 9, 300), ("off", 9, None), (100, 1, 100)],
)
def test_the_verifiers_volume_is_loaded_fast_where_it_pays(
    wanted: str | int, gib: int, rate: int | None
) -> None:
    model = ResolvedModel(source="s3://b/k", destination="/opt/m", size_bytes=gib << 30)
    made = job(
        SITE.model_copy(update={"volume_initialization_rate": wanted}), recipe(models=(model,))
    )
    choice = launch.Choice("g5.xlarge", "subnet-0000000a", "spot")

    def get_rate(role: Literal["builder", "verifier"]) -> object:
        request = launch.build_request(made, role, choice, image_id="ami-1", minutes=9)
        return request["BlockDeviceMappings"][0]["Ebs"].get("VolumeInitializationRate")

    assert get_rate("verifier") == rate
    assert get_rate("builder") is None


def test_a_token_is_one_machines_own() -> None:
    choices = launch.list_choices(SITE, SITE.instance_types)
    requests = [
        launch.build_request(job(), "builder", choice, image_id="ami-1", minutes=9)
        for choice in choices
    ]
    tokens = {
        launch.get_client_token(job(), role, request, attempt)
        for request in requests
        for role in ("builder", "verifier")
        for attempt in (1, 2)
    }

    assert len(tokens) == len(choices) * 4
    assert all(len(token) <= 64 for token in tokens)


def test_the_deadline_comes_first_in_the_user_data() -> None:
    choice = launch.Choice("g5.xlarge", "subnet-0000000a", "spot")
    text = launch.build_request(job(), "builder", choice, image_id="ami-1", minutes=25)["UserData"]

    commands = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert commands[0].startswith("systemd-run")
    assert "--on-active=1500" in commands[0]
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_steps_key_changes_with_its_script_and_parameters() -> None:
    base = {"steps/a.sh": b"1", "steps/b.sh": b"2", "steps/lib.sh": b"3", "parameters": b"4"}
    key = get_key("a", base)

    assert get_key("a", base | {"steps/b.sh": b"x"}) == key
    for name in ("steps/a.sh", "steps/lib.sh", "parameters"):
        assert get_key("a", base | {name: b"x"}) != key


def test_a_changed_smoke_command_runs_verification_again_and_no_step() -> None:
    def deliver(command: str) -> dict[str, bytes]:
        site = SITE.model_copy(update={"smoke_command": command, "logs": "s3://logs/"})
        told = parameters.render_site(site, folder="ami/i-1")
        assert f"SMOKE_COMMAND={command}\n".encode() in told
        return {"steps/a.sh": b"1", "steps/verify.sh": b"2", "parameters": b"3", SITE_FILE: told}

    assert get_key("a", deliver("one")) == get_key("a", deliver("two"))
    assert get_key("verify", deliver("one")) != get_key("verify", deliver("two"))


def test_stages_are_numbered_and_timed() -> None:
    said: list[str] = []
    stages = Stages(said.append, 2)
    with stages.stage("one", expected_s=90):
        pass
    with pytest.raises(ValueError, match="mine"), stages.stage("two"):
        raise ValueError("mine")

    assert said == ["step 1 of 2: one · expected 1 min 30 s", "step 2 of 2: two"]
    assert list(stages.timings) == ["one", "two"]


def test_a_retry_or_fallback_is_said_once_and_stays() -> None:
    said: list[str] = []
    kept: list[str] = []
    stages = Stages(said.append, 1, kept.append)
    for _ in range(3):
        stages.note_retry("ec2:DescribeImages", "RequestLimitExceeded")
    stages.note("next choice")

    assert said == []
    assert kept == [
        "AWS: ec2:DescribeImages failed for now (RequestLimitExceeded); trying again",
        "next choice",
    ]


@pytest.mark.parametrize(
    ("received", "total", "text"),
    [
        (3_240_000_000, 17_000_000_000, "3.2 of 17.0 GB"),
        (18_000_000_000, 17_000_000_000, "17.0 of 17.0 GB"),
        (400_000, 2_500_000, "0.4 of 2.5 MB"),
    ],
)
def test_bytes_are_told_of_the_total(received: int, total: int, text: str) -> None:
    assert traffic.describe(received, total) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_seconds_are_told_as_people_do(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_names_and_tags_say_whose_it_is() -> None:
    made = job()

    assert made.ami_name == f"baked-ami-n-{'f' * 16}"
    assert made.get_tags("builder")["Name"] == f"{made.ami_name} builder"
    assert made.get_tags("image")["team"] == "x"
    assert replace(made, user_tags={"Name": "mine"}).get_tags("image")["Name"] == "mine"
    assert made.get_tags("image")[tags.LINEAGE] == "p/s/n"
    key = tags.get_owner_key(made.lineage)
    assert key == f"baked-ami:owner/{hashlib.sha256(b'urn:1').hexdigest()[:16]}"
    assert tags.find_owners({key: "1", "other": "2"}) == {key: "1"}


def test_extra_steps_keep_their_order() -> None:
    from ami_provider.course import list_builder_stages

    steps = tuple(ExtraStep(name=name, script="true") for name in ("zebra", "ant"))
    stages = list_builder_stages(recipe(extra_steps=steps))
    names = [step.name for stage in stages for step in stage.steps]

    assert names.index("60-01-zebra") + 1 == names.index("60-02-ant")
    assert (
        names.index("36-agent-settings") < names.index("60-01-zebra") < names.index("80-manifest")
    )
