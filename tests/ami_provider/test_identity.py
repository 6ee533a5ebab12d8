"""From inputs to the fingerprint: each field of a recipe changes it, and nothing else does.

The tables have to name every field there is: a new one without a row fails here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ami_provider.checking import check_inputs
from ami_provider.comparing import compare
from ami_provider.properties import GIVEN
from ami_provider.recipe import ImageRecipe
from ami_provider.site import BuildSite, Lineage, Timeouts
from tests.ami_provider.account import Account, image_manifest
from tests.ami_provider.fields import list_leaves
from tests.ami_provider.samples import REPOSITORY

Given = dict[str, Any]
Change = Callable[[Account, Given], None]


def check(account: Account, given: Given) -> Given:
    return check_inputs({}, given, lambda _: account.aws).inputs


def start(account: Account) -> Given:
    """Inputs with something in every part of the recipe."""
    given = account.inputs()
    given["recipe"]["extra_steps"] = [{"name": "first", "script": "true\n"}]
    return given


def recipe(**fields: Any) -> Change:
    return lambda _, given: given["recipe"].update(fields)


def image(**fields: Any) -> Change:
    return lambda _, given: given["recipe"].update(images=[{"repository": REPOSITORY, **fields}])


def model(**fields: Any) -> Change:
    return lambda _, given: given["recipe"]["models"][0].update(fields)


def other_base(account: Account, given: Given) -> None:
    given["recipe"]["base"] = account.bases[1]


def other_repository(account: Account, given: Given) -> None:
    account.aws.ecr.create_repository(repositoryName="other")
    account.push("latest", name="other")
    given["recipe"]["images"][0]["repository"] = REPOSITORY.replace("batch-processor", "other")


def other_tag(account: Account, given: Given) -> None:
    account.push("v2")
    given["recipe"]["images"][0]["tag"] = "v2"


def pinned(account: Account, given: Given) -> None:
    digest = account.push("v3")
    given["recipe"]["images"] = [{"repository": REPOSITORY, "digest": digest}]


def other_model(account: Account, given: Given) -> None:
    put_model(account, "other.pt", b"other")
    given["recipe"]["models"][0]["source"] = "s3://local-ml-models/models/other.pt"


def put_model(account: Account, name: str, body: bytes) -> None:
    account.aws.s3.put_object(
        Bucket="local-ml-models", Key=f"models/{name}", Body=body, ChecksumAlgorithm="SHA256"
    )


def encrypted(account: Account, given: Given) -> None:
    key = account.aws.client("kms").create_key()["KeyMetadata"]["KeyId"]
    given["recipe"]["encryption_key"] = key


def from_the_web(**pinned: str) -> Change:
    source = {"source": "https://example.com/yolo.pt", "destination": "/opt/ml/models/yolo.pt"}
    return recipe(models=[source | pinned])


CONTENT: dict[str, Change] = {
    "base.source": other_base,
    "images[].repository": other_repository,
    "images[].tag": other_tag,
    "images[].digest": pinned,
    "models[].source": other_model,
    "models[].destination": model(destination="/opt/ml/models/renamed.pt"),
    "models[].sha256": from_the_web(sha256="1" * 64),
    "models[].checksums": from_the_web(checksums="https://example.com/SHA256SUMS"),
    "extra_steps[].name": recipe(extra_steps=[{"name": "second", "script": "true\n"}]),
    "extra_steps[].script": recipe(extra_steps=[{"name": "first", "script": "false\n"}]),
    "agent.gpu_support": recipe(agent={"gpu_support": False}),
    "agent.image_pull_behavior": recipe(agent={"image_pull_behavior": "once"}),
    "agent.spot_draining": recipe(agent={"spot_draining": False}),
    "agent.start_timeout_s": recipe(agent={"start_timeout_s": 300}),
    "agent.extra": recipe(agent={"extra": {"ECS_LOGLEVEL": "warn"}}),
    "system_update.enabled": recipe(system_update={"enabled": False}),
    "system_update.hold": recipe(system_update={"hold": ["kernel*"]}),
    "root_volume.size_gib": recipe(root_volume={"size_gib": 60}),
    "root_volume.type": recipe(root_volume={"type": "gp2"}),
    "root_volume.iops": recipe(root_volume={"iops": 4000}),
    "root_volume.throughput": recipe(root_volume={"throughput": 250}),
    "encryption_key": encrypted,
}
"""Each of them makes another image."""


def same_digest(account: Account, given: Given) -> None:
    account.put("batch-processor", "same", image_manifest("latest"))
    given["recipe"]["images"][0]["tag"] = "same"


def same_bytes(account: Account, given: Given) -> None:
    put_model(account, "copy.pt", b"yolo")
    given["recipe"]["models"][0]["source"] = "s3://local-ml-models/models/copy.pt"


def reordered(_: Account, given: Given) -> None:
    given["recipe"] = dict(reversed(given["recipe"].items()))
    given["recipe"]["models"] = [dict(reversed(m.items())) for m in given["recipe"]["models"]]


SAME: dict[str, Change] = {
    "base.family": recipe(base={"source": "/bases/gpu", "family": "al2023"}),  # as its name says
    "images[].tag": same_digest,
    "models[].source": same_bytes,
    "order": reordered,
    "numbers as the engine sends them": recipe(root_volume={"size_gib": 30.0}),
    "defaults": recipe(root_volume={"size_gib": 30}, agent={}, system_update={"enabled": True}),
    "order of held packages": recipe(
        system_update={"hold": ["nvidia*", "libnvidia*", "kernel*", "cuda*", "kernel*"]}
    ),
    "line ends of Windows": recipe(extra_steps=[{"name": "first", "script": "true\r\n"}]),
}
"""Ways to write the same image."""

SITE: dict[str, Any] = {
    "subnet_ids": None,  # another one of the account
    "security_group_ids": None,
    "instance_profile": None,
    "instance_types": ["g5.xlarge"],
    "capacity": "on-demand",
    "verify": "off",
    "smoke_command": "true",
    "logs": "s3://local-ml-models/logs/",
    "volume_initialization_rate": 200,
    "debug": True,
    "incremental": 3,
    "on_failure": "keep",
    "base_update": "never",
    **{f"timeouts.{name}": 7 for name in Timeouts.model_fields},
}
BESIDES: dict[str, Any] = {
    "tags": {"team": "vision"},
    "keep": 3,
    "publication": {"deprecate_after_days": 90},
    "trusted_owners": ["111111111111"],
    "secret_inputs": [["tags", "team"]],
}
"""Inputs beside recipe and site; none of them is content."""
ELSEWHERE = {"region", "tags"}
"""Fields of the parsed site that come from elsewhere, or that replace (test_comparing)."""


def test_the_tables_have_a_row_for_every_input() -> None:
    fields = list_leaves(ImageRecipe)
    assert fields == CONTENT.keys() | (SAME.keys() & fields)
    assert list_leaves(BuildSite) == SITE.keys() | ELSEWHERE
    assert set(GIVEN) == {"recipe", "site", "lineage"} | BESIDES.keys()


@pytest.fixture(autouse=True)
def checksum_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server that is there (test_http_models has one that answers)."""

    monkeypatch.setattr("ami_provider.lookups.models._read_checksum", lambda *_: "2" * 64)
    monkeypatch.setattr("ami_provider.resolve.check_http", lambda *_: None)


@pytest.mark.parametrize("field", CONTENT)
def test_content_makes_another_image(account: Account, field: str) -> None:
    old = check(account, start(account))
    given = start(account)
    CONTENT[field](account, given)
    new = check(account, given)
    assert new["fingerprint"] != old["fingerprint"]
    change = compare(old, new)
    assert change.replaces == ("fingerprint",)
    assert len(change.lines) > 1


@pytest.mark.parametrize("way", SAME)
def test_the_same_image_in_other_words(account: Account, way: str) -> None:
    old = check(account, start(account))
    given = start(account)
    SAME[way](account, given)
    assert check(account, given)["fingerprint"] == old["fingerprint"]


@pytest.mark.parametrize("field", [*SITE, *BESIDES, "lineage"])
def test_where_and_how_it_is_baked_is_no_content(account: Account, field: str) -> None:
    old = check(account, start(account))
    given = start(account)
    change_site(account, given, field)
    assert json.dumps(given) != json.dumps(start(account))
    new = check(account, given)
    assert new["fingerprint"] == old["fingerprint"]
    if field != "lineage":
        assert (compare(old, new).changes, compare(old, new).replaces) == (True, ())


def change_site(account: Account, given: Given, field: str) -> None:
    section, _, name = field.rpartition(".")
    if field == "subnet_ids":
        given["site"][field] = account.subnets[1:2]
    elif field == "security_group_ids":
        made = account.aws.ec2.create_security_group(
            GroupName="other", Description="other", VpcId=default_vpc(account)
        )
        given["site"][field] = [made["GroupId"]]
    elif field == "instance_profile":
        account.aws.iam.create_instance_profile(InstanceProfileName="other")
        account.aws.iam.add_role_to_instance_profile(
            InstanceProfileName="other", RoleName="builder"
        )
        given["site"][field] = "other"
    elif field == "lineage":
        given["lineage"] = Lineage(project="p", stack="s", name="n", urn="u").model_dump()
    elif field in BESIDES:
        given[field] = BESIDES[field]
    elif section:
        given["site"][section] = {name: SITE[field]}
    else:
        given["site"][field] = SITE[field]


def default_vpc(account: Account) -> str:
    vpcs = account.aws.ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])
    return vpcs["Vpcs"][0]["VpcId"]
