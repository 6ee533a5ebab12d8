"""Stack configuration: what is taken, and every fault told at once under its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from settings import MODELS_FOLDER, Settings, SettingsError, read_file, read_settings

ROOT = Path(__file__).parent.parent
REPOSITORY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor"
DIGEST = f"sha256:{'a' * 64}"


def config(**settings: Any) -> dict[str, str]:
    """Configuration as the engine hands it over: full keys, lists and maps as JSON text."""
    given: dict[str, Any] = {
        "repositoryUrl": REPOSITORY,
        "subnetIds": ["subnet-0a10ca10000000001"],
        "securityGroupIds": ["sg-0a10ca1000000000f"],
        **settings,
    }
    texts = {
        f"baked-ami:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in given.items()
        if value is not None
    }
    return {"aws:region": "ap-northeast-2", **texts}


def faults(**settings: Any) -> dict[str, str]:
    """The message of each key at fault."""
    with pytest.raises(SettingsError) as raised:
        read_settings(config(**settings))
    lines = [line for line in str(raised.value).splitlines()[1:-1] if line.startswith("  ")]
    told = [line.strip().partition(": ") for line in lines]
    return {key.removeprefix("baked-ami:"): message for key, _, message in told}


def of_stack(name: str) -> dict[str, str]:
    """The configuration of one of the project's own stack files, as the engine would give it."""
    document = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in document["config"].items()
    }


def test_the_three_required_settings_are_enough() -> None:
    settings = read_settings(config())
    assert settings.repository_url == REPOSITORY
    assert settings.subnet_ids == ("subnet-0a10ca10000000001",)
    assert settings.security_group_ids == ("sg-0a10ca1000000000f",)
    assert settings.base_ami == "al2023-gpu"
    assert settings.root_volume_gib == 30
    assert settings.all_models() == ()


def test_texts_become_what_they_mean() -> None:
    settings = read_settings(
        config(
            rootVolumeGib="45",
            systemUpdate="false",
            batch={"maxVcpus": 64, "volumeInitializationRate": 150},
            build={"verify": True, "timeouts": {"pull": 90}},
        )
    )
    assert settings.root_volume_gib == 45
    assert settings.system_update is False
    assert settings.batch.max_vcpus == 64
    assert settings.batch.volume_initialization_rate == 150
    assert settings.build.verify == "on"
    assert settings.build.timeouts.model_dump(exclude_none=True) == {"pull": 90}


def test_a_models_bucket_is_its_models_prefix_beside_the_listed_ones() -> None:
    settings = read_settings(
        config(
            modelsBucket="my-models",
            models=[
                {"source": "s3://other/deep/yolo.pt"},
                {"source": "https://example.com/w.bin?v=2", "sha256": "b" * 64},
                {"source": "s3://other/tokens/", "destination": "/opt/ml/tokens/"},
            ],
        )
    )
    assert [(model.source, model.place()) for model in settings.all_models()] == [
        ("s3://other/deep/yolo.pt", f"{MODELS_FOLDER}/yolo.pt"),
        ("https://example.com/w.bin?v=2", f"{MODELS_FOLDER}/w.bin"),
        ("s3://other/tokens/", "/opt/ml/tokens/"),
        ("s3://my-models/models/", f"{MODELS_FOLDER}/"),
    ]


@pytest.mark.parametrize(
    ("base", "family"),
    [
        ("al2023-gpu", "al2023"),
        ("al2-gpu", "al2"),
        ("/aws/service/ecs/optimized-ami/amazon-linux-2/gpu/recommended/image_id", "al2"),
        ("/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id", "al2023"),
        ("ami-0123456789abcdef0", "al2023"),
    ],
)
def test_the_base_amis_name_says_its_family(base: str, family: str) -> None:
    assert read_settings(config(baseAmi=base)).family == family


def test_a_given_family_wins() -> None:
    assert read_settings(config(baseAmi="ami-0123456789abcdef0", baseFamily="al2")).family == "al2"


def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    given = config()
    del given["aws:region"]
    assert read_settings(given).region == "eu-west-1"


def test_nothing_given_names_everything_that_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(SettingsError) as raised:
        read_settings({})
    keys = [line.strip().partition(": ")[0] for line in str(raised.value).splitlines()[1:-1]]
    assert keys == [
        "aws:region",
        "baked-ami:repositoryUrl",
        "baked-ami:securityGroupIds",
        "baked-ami:subnetIds",
    ]


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        repositoryUrl="https://example.com/x",
        subnetIds=["subnet-1", "subnet-0a10ca10000000001"],
        securityGroupIds=[],
        imageTga="latest",
        rootVolumeGib="big",
        batch={"maxVcpu": 8, "minVcpus": -1},
        models=[{"source": "https://example.com/w.bin"}, {"source": "yolo.pt"}],
    )
    assert set(found) == {
        "repositoryUrl",
        "subnetIds[0]",
        "securityGroupIds",
        "imageTga",
        "rootVolumeGib",
        "batch.maxVcpu",
        "batch.minVcpus",
        "models[0].sha256",
        "models[1].source",
    }


@pytest.mark.parametrize(
    ("settings", "key", "says"),
    [
        ({"repositoryUrl": f"https://{REPOSITORY}"}, "repositoryUrl", "has a scheme"),
        ({"repositoryUrl": f"{REPOSITORY}:latest"}, "repositoryUrl", "imageTag or imageDigest"),
        ({"repositoryUrl": "docker.io/library/x"}, "repositoryUrl", "is not ACCOUNT.dkr.ecr"),
        ({"repositoryUrl": None}, "repositoryUrl", f"is required, for example {REPOSITORY}"),
        ({"imageTag": "a b"}, "imageTag", "'a b' is not an image tag"),
        ({"imageDigest": "sha256:abc"}, "imageDigest", "64 hex digits"),
        ({"imageTag": "v1", "imageDigest": DIGEST}, "imageDigest", "beside imageTag"),
        ({"subnetIds": "subnet-0a10ca10000000001"}, "subnetIds", "must be a list"),
        ({"subnetIds": []}, "subnetIds", "must have at least 1 entry, but is []"),
        ({"securityGroupIds": None}, "securityGroupIds", "or give vpcId"),
        ({"vpcId": "vpc-0a10ca1000000000a"}, "securityGroupIds", "beside vpcId"),
        ({"modelsBucket": "s3://my-models"}, "modelsBucket", "bare name"),
        ({"models": [{"source": "s3://b/"}]}, "models[0].source", "neither s3://BUCKET/KEY"),
        (
            {"models": [{"source": "s3://bucket/all/", "sha256": "a" * 64}]},
            "models[0].sha256",
            "prefix of many",
        ),
        ({"baseAmi": "ubuntu"}, "baseAmi", "al2023-gpu, al2-gpu"),
        ({"baseUpdate": "sometimes"}, "baseUpdate", "'with-content', 'always' or 'never'"),
        ({"keep": "-1"}, "keep", "must be at least 0, but is '-1'"),
        ({"encryptionKey": "alias/mine"}, "encryptionKey", "the ARN of a KMS key"),
        ({"rootVolumeGib": "4"}, "rootVolumeGib", "must be at least 8"),
        ({"build": {"capacity": "cheap"}}, "build.capacity", "'spot'"),
        ({"build": {"instanceTypes": ["big"]}}, "build.instanceTypes[0]", "a machine type"),
        ({"build": {"timeouts": {"pul": 3}}}, "build.timeouts.pul", "did you mean pull?"),
        ({"build": {"verify": "maybe"}}, "build.verify", "on, off or a machine type"),
        ({"batch": {"minVcpus": 8, "maxVcpus": 4}}, "batch.maxVcpus", "is 4, below minVcpus 8"),
        ({"batch": {"logRetentionDays": 8}}, "batch.logRetentionDays", "CloudWatch Logs takes"),
        (
            {"batch": {"volumeInitializationRate": 99}},
            "batch.volumeInitializationRate",
            "auto, off or 100-300",
        ),
        ({"trustedOwners": [123456789012]}, "trustedOwners[0]", "put the account ID in quotes"),
        ({"trustedOwners": ["1234"]}, "trustedOwners[0]", "an account ID: 12 digits"),
        ({"publication": {"shareWth": []}}, "publication.shareWth", "did you mean shareWith?"),
        (
            {"publication": {"copies": [{"region": "Oregon"}]}},
            "publication.copies[0].region",
            "a region like us-west-2",
        ),
        (
            {"publication": {"copies": [{"region": "us-west-2", "encryptionKey": "my key"}]}},
            "publication.copies[0].encryptionKey",
            "alias/NAME",
        ),
        (
            {"publication": {"deprecateAfterDays": 9, "deprecateAt": "2027-05-01"}},
            "publication.deprecateAt",
            "beside deprecateAfterDays",
        ),
        ({"publication": {"deprecateAt": "soon"}}, "publication.deprecateAt", "a date like 2027"),
        ({"batch": {"jobMinutesOnUpdate": 361}}, "batch.jobMinutesOnUpdate", "at most 360"),
        (
            {"batch": {"fastSnapshotRestoreZones": ["ap-northeast-2a"]}},
            "batch.fastSnapshotRestoreZones",
            "volumeInitializationRate is auto: EBS would use the rate",
        ),
        (
            {"batch": {"volumeInitializationRate": "off", "fastSnapshotRestoreZones": ["Seoul"]}},
            "batch.fastSnapshotRestoreZones[0]",
            "a zone like ap-northeast-2a",
        ),
        (
            {"batch": {"capacity": "on-demand", "onDemandMaxVcpus": 8}},
            "batch.onDemandMaxVcpus",
            "capacity is on-demand already",
        ),
        ({"job": {"memory": 4}}, "job.memory", "did you mean memoryMib?"),
        ({"subnetId": "x"}, "subnetId", "did you mean subnetIds?"),
        ({"zzz": "x"}, "zzz", "known here: "),
        ({"tags": ["a"]}, "tags", "must be a map (`name: value` lines below the key)"),
        ({"tags": {"n": 1}}, "tags.n", "must be text (put it in quotes), but is 1"),
        ({"batch": "big"}, "batch", "must be a map"),
        ({"keep": "two"}, "keep", "must be a whole number, but is 'two'"),
        ({"batch": {"maxVcpus": 1.5}}, "batch.maxVcpus", "must be a whole number, but is 1.5"),
        ({"systemUpdate": "maybe"}, "systemUpdate", "must be true or false, but is 'maybe'"),
        ({"build": {"smokeCommand": ""}}, "build.smokeCommand", "at least 1 character"),
        ({"trustedOwners": ["123456789012"] * 41}, "trustedOwners", "at most 40 entries"),
        ({"batch": {"maxVcpus": 2}}, "job", "asks for 4 vCPUs (job.vcpus), but its environment"),
    ],
)
def test_a_bad_setting_is_told_under_its_key(settings: Any, key: str, says: str) -> None:
    found = faults(**settings)
    assert list(found) == [key]
    assert says in found[key]


@pytest.mark.parametrize("namespace", ["bakedami", "baked_ami", "bake-ami"])
def test_a_namespace_that_is_nearly_ours_is_not_passed_over(namespace: str) -> None:
    with pytest.raises(SettingsError, match=f"{namespace}:keep: .* did you mean baked-ami:keep"):
        read_settings(config() | {f"{namespace}:keep": "2"})


def test_other_programs_settings_are_none_of_ours() -> None:
    read_settings(config() | {"aws:profile": "dev", "gcp:project": "x", "mine:keep": "2"})


def test_a_region_is_told_what_one_looks_like() -> None:
    with pytest.raises(SettingsError, match="aws:region: 'Seoul' is not a region like us-west-2"):
        read_settings(config() | {"aws:region": "Seoul"})


def test_the_error_is_one_the_engine_shows_without_a_traceback() -> None:
    assert issubclass(SettingsError, pulumi.RunError)


@pytest.mark.parametrize("stack", ["local", "example"])
def test_the_projects_own_settings_are_good(stack: str) -> None:
    read_settings(of_stack(stack))


def test_the_example_explains_every_setting() -> None:
    text = (ROOT / "Pulumi.example.yaml").read_text()
    schema = json.dumps(type(read_settings(config())).model_json_schema(by_alias=True))
    names = {name for part in _properties(json.loads(schema)) for name in part}
    missing = {name for name in names if name not in text}
    assert "repositoryUrl" in names
    assert missing == set()


def test_the_examples_values_are_the_defaults() -> None:
    example = read_settings(of_stack("example"))
    plain = read_settings(config())
    for section in (
        "batch",
        "job",
        "base_ami",
        "base_update",
        "system_update",
        "root_volume_gib",
        "keep",
    ):
        assert getattr(example, section) == getattr(plain, section)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_placeholder_is_a_fault_under_its_own_key(stack: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(of_stack(stack))
    lines = str(raised.value).splitlines()[1:-1]
    assert all("still holds the placeholder" in line for line in lines)
    for key in ("repositoryUrl", "modelsBucket", "subnetIds[0]", "securityGroupIds[0]"):
        assert any(line.startswith(f"  baked-ami:{key}: ") for line in lines)


def filled_in(stack: str) -> Settings:
    """The settings of one of the project's own stacks, with every placeholder replaced."""
    filled = of_stack(stack)
    known = config(modelsBucket="my-models", imageDigest=DIGEST)
    for key, value in filled.items():
        if "REPLACE" in value:
            filled[key] = known[key]
    return read_settings(filled)


def test_the_environments_differ_where_it_is_sensible_and_only_there() -> None:
    local, dev, prod = filled_in("local"), filled_in("dev"), filled_in("prod")
    assert local.batch.log_retention_days < dev.batch.log_retention_days
    assert dev.batch.log_retention_days < prod.batch.log_retention_days
    assert dev.batch.job_minutes_on_update < prod.batch.job_minutes_on_update
    assert (dev.image_tag, prod.image_digest) == ("latest", DIGEST), "prod moves on purpose"
    assert (dev.keep, prod.keep) == (0, 2), "prod can go back within seconds"
    assert prod.batch.on_demand_max_vcpus > 0, "prod has somewhere to go when spot has not"
    assert prod.keep > dev.keep, "prod can roll back"
    assert dev.build.verify == "on", "dev checks on what it can get"
    assert prod.build.verify == prod.batch.instance_types[0], "prod on what jobs get first"
    assert prod.publication
    assert prod.publication.deregistration_protection
    assert not dev.publication, "dev deletes what it likes"
    same = ("repository_url", "models_bucket", "base_ami", "system_update", "root_volume_gib")
    for name in same:  # the recipe is one, so that prod takes the AMI that dev has baked
        assert getattr(dev, name) == getattr(prod, name)


def _properties(schema: dict[str, Any]) -> list[dict[str, Any]]:
    parts = [schema, *schema["$defs"].values()]
    return [part.get("properties", {}) for part in parts]


def test_a_stacks_file_is_read_as_the_engine_hands_it_on() -> None:
    for stack in ("local", "example"):
        assert read_file(ROOT / f"Pulumi.{stack}.yaml") == read_settings(of_stack(stack))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("config: [", "is not YAML with settings under `config:`"),
        ("- one", "is not YAML with settings under `config:`"),
        ("config: 3", "is not YAML with settings under `config:`"),
        ("config: {'baked-ami:keep': 101}", "baked-ami:keep"),
    ],
    ids=["none", "broken", "a list", "a number", "a fault"],
)
def test_a_stacks_file_that_cannot_be_used_says_why(
    tmp_path: Path, text: str | None, says: str
) -> None:
    if text is not None:
        (tmp_path / "Pulumi.x.yaml").write_text(text)
    with pytest.raises(SettingsError) as raised:
        read_file(tmp_path / "Pulumi.x.yaml")
    assert says in str(raised.value)
