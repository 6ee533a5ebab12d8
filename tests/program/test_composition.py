"""`__main__.py` against Pulumi's mocks: settings in, one AMI, its ID and digest handed to Batch."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pulumi.runtime
import pytest
import yaml
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from tests.batch.machine_types import answer

ROOT = Path(__file__).parents[2]
AMI = "ami-0123456789abcdef0"
REPOSITORY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor"
URI = f"{REPOSITORY}@sha256:{'a' * 64}"


class Cloud(Mocks):
    """Remembers what is registered, by type and name; the AMI is baked at once."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], dict[str, Any]] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        self.made[kind, args.name] = dict(args.inputs)
        answer = {"name": f"{args.name}-made", "arn": f"arn:aws:x:r:123456789012:{kind}"}
        if kind == "BakedAmi":
            answer = {"ami_id": AMI, "images": [{"uri": URI}], "manifest": {}}  # type: ignore[dict-item]
        return f"{args.name}-{kind}", {**args.inputs, **answer, "latestVersion": 1}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return answer(args), []


def run(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Cloud:
    """Run the program with the local stack's settings and these over them; None takes one away."""
    config = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
    config |= {f"baked-ami:{key}": value for key, value in settings.items()}
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
        if value is not None
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
    cloud = Cloud()
    pulumi.runtime.set_mocks(cloud, project="baked-ami", stack="local", preview=False)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> None:
        runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

    program()
    return cloud


def test_the_amis_id_and_digest_flow_into_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = run(monkeypatch)
    environment = cloud.made["ComputeEnvironment", "gpu"]["computeResources"]
    assert environment["ec2Configurations"][0]["imageIdOverride"] == AMI
    assert cloud.made["LaunchTemplate", "gpu"]["imageId"] == AMI
    job = json.loads(cloud.made["JobDefinition", "gpu"]["containerProperties"])
    assert job["image"] == URI


def test_how_many_amis_are_kept_is_no_part_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, keeping = (run(monkeypatch, keep=n).made["BakedAmi", "gpu"] for n in (None, "3"))
    assert (plain["keep"], keeping["keep"]) == (0, 3)
    assert plain["recipe"] == keeping["recipe"]


def test_the_recipe_is_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = run(
        monkeypatch,
        rootVolumeGib="64",
        systemUpdate="false",
        baseAmi="al2-gpu",
        models=[{"source": "s3://other/yolo.pt"}],
    ).made["BakedAmi", "gpu"]["recipe"]
    assert recipe["images"] == [{"repository": REPOSITORY, "tag": "latest"}]
    assert recipe["models"] == [
        {"source": "s3://other/yolo.pt", "destination": "/opt/ml/models/yolo.pt"},
        {"source": "s3://local-ml-models/models/", "destination": "/opt/ml/models/"},
    ]
    assert recipe["base"]["source"] == "al2-gpu"
    assert recipe["root_volume"]["size_gib"] == 64
    assert recipe["system_update"]["enabled"] is False


def test_a_digest_takes_the_tags_place(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = f"sha256:{'c' * 64}"
    cloud = run(monkeypatch, imageTag=None, imageDigest=digest)
    assert cloud.made["BakedAmi", "gpu"]["recipe"]["images"] == [
        {"repository": REPOSITORY, "digest": digest}
    ]


def test_without_groups_one_with_https_out_and_nothing_in_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = run(monkeypatch)
    group = cloud.made["SecurityGroup", "https-out"]
    assert "ingress" not in group
    assert [(rule["fromPort"], rule["toPort"]) for rule in group["egress"]] == [(443, 443)]
    made = ["https-out-SecurityGroup"]
    assert cloud.made["BakedAmi", "gpu"]["site"]["security_group_ids"] == made
    assert cloud.made["ComputeEnvironment", "gpu"]["computeResources"]["securityGroupIds"] == made


def test_given_groups_are_used_and_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = ["sg-0a10ca1000000000f"]
    cloud = run(monkeypatch, vpcId=None, securityGroupIds=groups)
    assert not [name for kind, name in cloud.made if kind == "SecurityGroup"]
    assert cloud.made["BakedAmi", "gpu"]["site"]["security_group_ids"] == groups


def test_the_builder_reads_its_repository_and_its_models_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = run(monkeypatch, models=[{"source": "s3://other/yolo.pt"}])
    document = json.loads(cloud.made["RolePolicy", "builder"]["policy"])
    resources = [s["Resource"] for s in document["Statement"] if s["Resource"] != "*"]
    assert resources == [
        ["arn:aws:ecr:ap-northeast-2:123456789012:repository/batch-processor"],
        "arn:aws:ec2:*:*:instance/*",
        ["arn:aws:s3:::local-ml-models/models/*", "arn:aws:s3:::other/yolo.pt"],
    ]
    assert cloud.made["BakedAmi", "gpu"]["site"]["instance_profile"] == "builder-made"
