"""What is looked up at preview, what is kept, and each thing that AWS does not have."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ami_provider.asked import read_resolved
from ami_provider.checking import check_inputs
from ami_provider.comparing import compare
from tests.ami_provider.account import Account, Refusing, image_manifest
from tests.ami_provider.samples import REGION, REPOSITORY


def check(account: Account, given: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
    return check_inputs(olds or {}, given, lambda _: account.aws)


def test_everything_is_resolved(account: Account) -> None:
    inputs = check(account, account.inputs()).inputs
    (image,) = inputs["images"]
    digest = account.aws.ecr.describe_images(repositoryName="batch-processor")["imageDetails"][0][
        "imageDigest"
    ]
    assert image == {
        "repository": REPOSITORY,
        "tag": "latest",
        "digest": digest,
        "uri": f"{REPOSITORY}@{digest}",
    }
    assert inputs["manifest"]["models"] == [
        {"destination": "/opt/ml/models/yolo.pt", "sha256": hashlib.sha256(b"yolo").hexdigest()}
    ]
    assert inputs["manifest"]["base"]["ami_id"] == account.bases[0]
    assert inputs["resolved"]["base"]["root_device"].startswith("/dev/")
    assert inputs["resolved"]["base"]["family"] == "al2023"
    assert inputs["region"] == REGION
    assert len(inputs["fingerprint"]) == 64


def test_a_check_without_changes_asks_for_tag_object_and_parameter_only(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    asking = Refusing(account.aws)
    again = check_inputs(olds, account.inputs(), lambda _: asking).inputs  # type: ignore[arg-type, return-value]
    assert sorted(asking.asked) == ["batch_get_image", "get_parameter", "head_object"]
    assert again == olds
    assert compare(olds, again).changes is False


def test_another_image_under_the_tag_replaces_and_says_so(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    account.aws.ecr.batch_delete_image(
        repositoryName="batch-processor", imageIds=[{"imageTag": "latest"}]
    )
    account.put("batch-processor", "latest", image_manifest("second"))
    change = compare(olds, check(account, account.inputs(), olds).inputs)
    assert change.replaces == ("fingerprint",)
    assert change.lines[1].startswith("  image batch-processor:latest: digest sha256:")


def test_other_bytes_of_a_model_replace_and_say_so(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    account.aws.s3.put_object(
        Bucket="local-ml-models", Key="models/yolo.pt", Body=b"new", ChecksumAlgorithm="SHA256"
    )
    change = compare(olds, check(account, account.inputs(), olds).inputs)
    assert change.replaces == ("fingerprint",)
    assert change.lines[1].startswith("  model yolo.pt: sha256 ")


def test_how_much_is_in_it_is_told_and_is_no_change(account: Account) -> None:
    given = account.inputs()
    checked = check(account, given).inputs
    layers = sum(checked["resolved"]["images"][0]["layer_bytes"])
    models = sum(model["size_bytes"] for model in checked["resolved"]["models"])
    assert checked["sizes"] == {
        "image_bytes": 2 * layers,
        "model_bytes": models,
        "snapshot_bytes": 6 * 1024**3 + 2 * layers + models,
        "is_whole": True,
    }
    before = {key: value for key, value in checked.items() if key != "sizes"}  # as of old states
    assert not compare(before, check(account, given, before).inputs).changes


def test_a_newer_base_ami_alone_is_told_and_not_taken(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    newer = account.publish_base(1)
    checked = check(account, account.inputs(), olds)
    assert checked.inputs == olds
    assert f"a newer base AMI is out: {newer}" in checked.notes[0]


def test_a_newer_base_ami_comes_with_other_content(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    newer = account.publish_base(1)
    given = account.inputs() | {}
    given["recipe"]["root_volume"] = {"size_gib": 40}
    news = check(account, given, olds).inputs
    assert news["manifest"]["base"]["ami_id"] == newer
    first, *changes = compare(olds, news).lines
    assert first == "the AMI is replaced, because its content changes:"
    assert changes[0].startswith("  base AMI: ")
    assert changes[1:] == ["  root volume: size 30 GiB -> 40 GiB"]


def test_a_script_is_kept_where_it_was_given_and_nowhere_else(account: Account) -> None:
    """The engine encrypts a secret input; a copy of it that a check made, it would not."""
    given = account.inputs()
    given["recipe"]["extra_steps"] = [{"name": "a", "script": "echo hush"}]
    olds = check(account, given).inputs
    assert "hush" not in json.dumps({k: v for k, v in olds.items() if k != "recipe"})
    assert read_resolved(olds).manifest() == olds["manifest"]
    account.publish_base(1)
    checked = check(account, given, olds)
    assert checked.inputs["fingerprint"] == olds["fingerprint"], "the base AMI could stay"
    older = olds | {"resolved": {**olds["resolved"], "extra_steps": given["recipe"]["extra_steps"]}}
    assert read_resolved(older) == read_resolved(olds), "as earlier versions have kept it"


def test_the_policies_always_and_never(account: Account) -> None:
    given = account.inputs()
    given["site"]["base_update"] = "always"
    olds = check(account, given).inputs
    newer = account.publish_base(1)
    assert check(account, given, olds).inputs["manifest"]["base"]["ami_id"] == newer
    given["site"]["base_update"] = "never"
    given["recipe"]["root_volume"] = {"size_gib": 40}
    checked = check(account, given, olds)
    kept = checked.inputs["manifest"]
    assert kept["base"]["ami_id"] == account.bases[0]
    assert kept["root_volume"]["size_gib"] == 40
    assert [note for note in checked.notes if "base AMI" in note] == [
        f"a newer base AMI is out: {newer} (this image has {account.bases[0]}). It stays out with "
        f"base_update=never; with-content takes it with the next change of content, always takes "
        f"it now."
    ]


def test_with_never_the_base_ami_stays_where_nobody_can_tell_of_a_newer_one(
    account: Account,
) -> None:
    given = account.inputs()
    given["site"]["base_update"] = "never"
    olds = check(account, given).inputs
    silent = Refusing(account.aws, get_parameter="AccessDeniedException")

    checked = check_inputs(olds, given, lambda _: silent)  # type: ignore[arg-type, return-value]

    assert (checked.inputs, checked.notes) == (olds, ())


def test_a_new_stack_takes_the_base_of_an_ami_with_the_same_content(account: Account) -> None:
    from ami_provider.faults import parse
    from ami_provider.lookups.existing import get_content_tags
    from ami_provider.resolved import ResolvedRecipe

    olds = check(account, account.inputs()).inputs
    recipe = parse(ResolvedRecipe, olds["resolved"])
    found = {
        "baked-ami:fingerprint": olds["fingerprint"],
        "baked-ami:verified": "yes",
        **get_content_tags(recipe),
    }
    machine = account.aws.ec2.run_instances(ImageId=account.bases[0], MinCount=1, MaxCount=1)
    baked = account.aws.ec2.create_image(
        InstanceId=machine["Instances"][0]["InstanceId"], Name="baked-ami-gpu-x"
    )["ImageId"]
    account.aws.ec2.create_tags(
        Resources=[baked], Tags=[{"Key": k, "Value": v} for k, v in found.items()]
    )
    account.publish_base(1)
    checked = check(account, account.inputs())
    assert checked.inputs["fingerprint"] == olds["fingerprint"]
    assert checked.inputs["ami_id"] == baked
    assert any("is used, not baked" in note for note in checked.notes)


def test_a_bake_whose_ami_is_not_checked_is_told_of(account: Account) -> None:
    given = account.inputs()
    given["site"]["verify"] = "off"

    checked = check(account, given)

    assert any("verification is off (site.verify)" in note for note in checked.notes)
    assert not any("verification" in note for note in check(account, given, checked.inputs).notes)


def test_al2_is_warned_about(account: Account) -> None:
    given = account.inputs()
    given["recipe"]["base"] = {"source": "/bases/gpu", "family": "al2"}
    assert any("Amazon Linux 2." in note for note in check(account, given).notes)
