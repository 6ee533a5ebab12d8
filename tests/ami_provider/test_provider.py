"""What the engine gets from the provider: results, messages, one object for all threads."""

from __future__ import annotations

import base64
import pickle
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.dynamic import ConfigureRequest
from pulumi.dynamic.dynamic import serialize_provider

from ami_provider import aws, life, refreshing, updating
from ami_provider.bake import BakedImage
from ami_provider.checking import Checked
from ami_provider.errors import BakeError
from ami_provider.provider import BakedAmiProvider
from ami_provider.rechecking import once
from ami_provider.unknowns import UNKNOWN
from tests.ami_provider.account import Account, Refusing, open_account
from tests.ami_provider.samples import REGION


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with open_account(monkeypatch) as opened:
        monkeypatch.setattr(aws, "get_aws", lambda _: opened.aws)
        for module in (life, refreshing, updating):
            monkeypatch.setattr(module, "get_aws", lambda _: opened.aws)
        monkeypatch.setattr(
            "ami_provider.checking.check_inputs.__defaults__", (lambda _: opened.aws,)
        )
        yield opened


@pytest.fixture
def provider() -> BakedAmiProvider:
    return BakedAmiProvider()


def baked(account: Account, name: str = "baked-ami-gpu-0123456789abcdef") -> dict[str, Any]:
    """Outputs of an AMI that is really there, owned by the sample lineage."""
    ec2 = account.aws.ec2
    machine = ec2.run_instances(ImageId=account.bases[0], MinCount=1, MaxCount=1)["Instances"][0]
    made = ec2.create_image(InstanceId=machine["InstanceId"], Name=name)["ImageId"]
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    disks = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"]
    return account.inputs() | {
        "ami_id": made,
        "ami_name": name,
        "fingerprint": "f",
        "region": REGION,
        "snapshot_ids": [d["Ebs"]["SnapshotId"] for d in disks],
        "owner_nonce": "n",
        "model_checksums": {"/opt/m": "1"},
        "state": "available",
        "__provider": "x",
    }


def test_the_state_keeps_the_provider_by_name_only(provider: BakedAmiProvider) -> None:
    kept = base64.b64decode(serialize_provider(provider))
    assert type(pickle.loads(kept)) is BakedAmiProvider
    assert len(kept) < 150
    assert provider.serialize_as_secret_always is False


def test_a_program_that_declares_the_resource_loads_neither_botocore_nor_the_models() -> None:
    import subprocess

    code = (
        "import sys, ami_provider.resource;"
        "print([m for m in ('botocore', 'boto3', 'urllib3', 'pydantic') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_check_gives_each_fault_on_its_property(
    account: Account, provider: BakedAmiProvider
) -> None:
    given = account.inputs()
    given["recipe"]["images"][0]["tag"] = "gone"
    given["site"]["subnet_ids"] = ["subnet-00000000"]
    given["site"]["instance_types"] = ["g4dn.xlarge", "p3.2xlarge"]
    given["recipe"]["models"] = [{"source": "x", "destination": "/opt/m"}]
    given["recipe"]["base"] = {"source": "/bases/gpu", "family": "al2023"}
    result = provider.check({}, given)
    assert [f.property for f in result.failures] == [
        "recipe.models[0].source",  # is malformed, what follows is not there or does not fit
        "recipe.images[0].tag",
        "site.subnet_ids[0]",
        "site.instance_types[1]",
    ]


def test_check_then_diff_of_the_same_is_no_change(
    account: Account, provider: BakedAmiProvider
) -> None:
    inputs = provider.check({}, account.inputs()).inputs
    again = provider.check(inputs, account.inputs())
    assert again.failures == []
    result = provider.diff("ami-1", inputs | {"ami_id": "ami-1"}, again.inputs)
    assert (result.changes, result.replaces, result.delete_before_replace) == (False, [], False)


def test_the_second_check_of_a_replacement_is_answered_by_the_first() -> None:
    asked = []

    def check(olds: Any, news: Any) -> Checked:
        asked.append(dict(olds))
        return Checked({"n": len(asked)}, ("note",))

    news = {"lineage": {"urn": "urn:a"}, "recipe": {"x": 1}}
    assert once(check, {"o": 1}, news).inputs == {"n": 1}
    second = once(check, {}, news)
    assert (second.inputs, second.notes) == ({"n": 1}, ())
    assert once(check, {}, news).inputs == {"n": 2}
    once(check, {"o": 1}, news)
    assert once(check, {}, news | {"recipe": {"x": 2}}).inputs == {"n": 4}
    assert len(asked) == 4


def test_create_gives_all_outputs_and_tells_of_the_content(
    account: Account, provider: BakedAmiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def bake(recipe: Any, site: Any, lineage: Any, **more: Any) -> BakedImage:
        asked.update(more, recipe=recipe, site=site, lineage=lineage)
        return BakedImage(
            ami_id="ami-1",
            name="baked-ami-gpu-1",
            fingerprint="f",
            snapshot_ids=("snap-1",),
            adopted=False,
            owner_nonce="nonce",
            model_checksums={"/opt/ml/models/yolo.pt": "1"},
        )

    monkeypatch.setattr(life, "bake", bake)
    given = account.inputs() | {"tags": {"team": "vision"}}
    inputs = provider.check({}, given).inputs
    result = provider.create(inputs | {"__provider": "x"})
    assert result.id == "ami-1"
    assert result.outs is not None
    assert result.outs["snapshot_ids"] == ["snap-1"]
    assert result.outs["owner_nonce"] == "nonce"
    assert result.outs["fingerprint"] == inputs["fingerprint"]
    assert "__provider" not in result.outs
    assert asked["lineage"].name == "gpu"
    assert asked["user_tags"]["team"] == "vision"
    assert asked["user_tags"]["baked-ami:base"] == account.bases[0]
    assert asked["recipe"].manifest() == inputs["manifest"]


def test_read_drops_the_resource_only_when_nothing_is_left(
    account: Account, provider: BakedAmiProvider
) -> None:
    outs = baked(account)
    found = provider.read(outs["ami_id"], outs)
    assert (found.id, found.outs["state"]) == (outs["ami_id"], "available")  # type: ignore[index]
    account.aws.ec2.deregister_image(ImageId=outs["ami_id"])
    left = provider.read(outs["ami_id"], outs)
    assert (left.id, left.outs["state"]) == (outs["ami_id"], "gone")  # type: ignore[index]
    change = provider.diff(outs["ami_id"], left.outs or {}, outs)
    assert change.replaces == ["ami_id"]
    for snapshot in outs["snapshot_ids"]:
        account.aws.ec2.delete_snapshot(SnapshotId=snapshot)
    nothing = provider.read(outs["ami_id"], outs)
    assert (nothing.id, nothing.outs) == ("", {})


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded", "AuthFailure"])
def test_read_that_gets_no_answer_drops_nothing(
    account: Account, provider: BakedAmiProvider, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Only EC2's word that it is gone takes it out of the state; a failure ends the refresh."""
    outs = baked(account)
    refusing = Refusing(account.aws, describe_images=code)
    monkeypatch.setattr(refreshing, "get_aws", lambda _: refusing)
    with pytest.raises(BakeError, match=r"ec2:DescribeImages|does not accept the credentials"):
        provider.read(outs["ami_id"], outs)


def test_update_takes_over_tags_and_keeps_every_output(
    account: Account, provider: BakedAmiProvider
) -> None:
    outs = baked(account) | {"tags": {"a": "1", "b": "2", "Name": "mine"}}
    account.aws.ec2.create_tags(
        Resources=[outs["ami_id"]], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    )
    news = account.inputs() | {"region": REGION, "fingerprint": "f", "tags": {"b": "3", "c": "4"}}
    kept = provider.update(outs["ami_id"], outs, news).outs
    assert kept is not None
    assert set(outs) - set(kept) == {"__provider"}
    assert kept["tags"] == {"b": "3", "c": "4"}
    found = account.aws.ec2.describe_images(ImageIds=[outs["ami_id"]])["Images"][0]["Tags"]
    named = {"Name": outs["ami_name"]}  # As without a name of the user's own.
    assert {t["Key"]: t["Value"] for t in found} == {"b": "3", "c": "4"} | named


def test_a_state_without_a_nonce_deletes_nothing(
    account: Account, provider: BakedAmiProvider
) -> None:
    outs = baked(account)
    with pytest.raises(BakeError, match="does not say whether it owns"):
        provider.delete(outs["ami_id"], outs | {"owner_nonce": ""})
    assert provider.read(outs["ami_id"], outs).id == outs["ami_id"]


def test_a_failure_is_a_message_and_not_a_traceback(
    account: Account, provider: BakedAmiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bake(*_: Any, **__: Any) -> BakedImage:
        raise BakeError("step pull failed", "exit code 1\nno space left", "Raise size_gib.")

    monkeypatch.setattr(life, "bake", bake)
    inputs = provider.check({}, account.inputs()).inputs
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    provider.configure(ConfigureRequest(None))  # type: ignore[arg-type]
    try:
        provider.create(inputs)
    except BakeError:
        shown = traceback.format_exc()
    assert shown.strip() == (
        "BakeError: step pull failed\n\n  exit code 1\n  no space left\n\n"
        "What to do: Raise size_gib."
    )


def test_a_defect_says_where_it_is(
    account: Account, provider: BakedAmiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bake(*_: Any, **__: Any) -> BakedImage:
        raise KeyError("oops")

    monkeypatch.setattr(life, "bake", bake)
    inputs = provider.check({}, account.inputs()).inputs
    with pytest.raises(BakeError, match=r"a defect in the provider: KeyError: 'oops'") as told:
        provider.create(inputs)
    assert "test_provider.py, line" in told.value.details
    assert told.value.__cause__ is None


def test_unknown_inputs_of_the_engine_are_understood(
    account: Account, provider: BakedAmiProvider
) -> None:
    from pulumi.output import Unknown

    given = account.inputs()
    given["recipe"]["images"][0]["repository"] = Unknown()  # type: ignore[no-untyped-call]
    result = provider.check({}, given)
    assert result.failures == []
    assert result.inputs["fingerprint"] == UNKNOWN
    assert provider.diff("ami-1", {"fingerprint": "f"}, result.inputs).replaces == ["fingerprint"]
