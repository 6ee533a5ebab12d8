"""What is looked up at preview, what is kept, and each thing that AWS does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ami_provider.checking import check_inputs
from ami_provider.comparing import compare
from ami_provider.contents import Model
from ami_provider.faults import FaultsError
from ami_provider.lookups.models import find_sha256
from ami_provider.unknowns import UNKNOWN
from tests.ami_provider.account import Account, Refusing, image_manifest, open_account
from tests.ami_provider.samples import REGION, REPOSITORY


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with open_account(monkeypatch) as opened:
        yield opened


def check(account: Account, given: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
    return check_inputs(olds or {}, given, lambda _: account.aws)


def refusals(
    account: Account, given: dict[str, Any], aws: Any = None, olds: dict[str, Any] | None = None
) -> dict[str, str]:
    with pytest.raises(FaultsError) as refused:
        check_inputs(olds or {}, given, lambda _: aws or account.aws)
    return {fault.path: fault.reason for fault in refused.value.faults}


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


SITE_CHANGES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("instance_types", lambda given: given["site"].update(instance_types=["g5.xlarge"])),
    ("capacity", lambda given: given["site"].update(capacity="on-demand")),
    ("timeouts", lambda given: given["site"].update(timeouts={"pull": 5})),
    ("verify", lambda given: given["site"].update(verify="off")),
    ("debug", lambda given: given["site"].update(debug=True)),
    ("on_failure", lambda given: given["site"].update(on_failure="keep")),
    ("base_update", lambda given: given["site"].update(base_update="never")),
    ("tags", lambda given: given.update(tags={"team": "vision"})),
]


@pytest.mark.parametrize(("field", "change"), SITE_CHANGES, ids=[c[0] for c in SITE_CHANGES])
def test_a_change_of_the_site_never_replaces(
    account: Account, field: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    olds = check(account, account.inputs()).inputs
    given = account.inputs()
    change(given)
    news = check(account, given, olds).inputs
    assert news["fingerprint"] == olds["fingerprint"]
    found = compare(olds, news)
    assert (found.changes, found.replaces) == (True, ())


def test_another_subnet_updates_in_place(account: Account) -> None:
    olds = check(account, account.inputs()).inputs
    given = account.inputs()
    given["site"]["subnet_ids"] = account.subnets[1:2]
    assert compare(olds, check(account, given, olds).inputs).replaces == ()


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
    assert changes[1:] == ["  root volume size gib: 30 -> 40"]


def test_the_policies_always_and_never(account: Account) -> None:
    given = account.inputs()
    given["site"]["base_update"] = "always"
    olds = check(account, given).inputs
    newer = account.publish_base(1)
    assert check(account, given, olds).inputs["manifest"]["base"]["ami_id"] == newer
    given["site"]["base_update"] = "never"
    given["recipe"]["root_volume"] = {"size_gib": 40}
    kept = check(account, given, olds).inputs["manifest"]
    assert kept["base"]["ami_id"] == account.bases[0]
    assert kept["root_volume"]["size_gib"] == 40


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


def test_a_prefix_is_listed_in_full(account: Account) -> None:
    for i in range(1005):
        account.aws.s3.put_object(
            Bucket="local-ml-models", Key=f"many/sub/{i:04}", Body=b"x", ChecksumAlgorithm="SHA256"
        )
    account.aws.s3.put_object(Bucket="local-ml-models", Key="many/sub/", Body=b"")
    given = account.inputs()
    given["recipe"]["models"] = [
        {"source": "s3://local-ml-models/many/", "destination": "/opt/ml/models"}
    ]
    models = check(account, given).inputs["manifest"]["models"]
    assert len(models) == 1005
    assert models[1004]["destination"] == "/opt/ml/models/sub/1004"


def test_an_object_without_checksum_is_known_by_version_etag_and_size(account: Account) -> None:
    account.aws.s3.put_bucket_versioning(
        Bucket="local-ml-models", VersioningConfiguration={"Status": "Enabled"}
    )
    account.aws.s3.put_object(
        Bucket="local-ml-models", Key="models/yolo.pt", Body=b"12345", ChecksumAlgorithm="CRC32"
    )
    (model,) = check(account, account.inputs()).inputs["manifest"]["models"]
    assert model["source"] == "s3://local-ml-models/models/yolo.pt"
    assert model["size_bytes"] == 5
    assert model["etag"] == hashlib.md5(b"12345").hexdigest()
    assert model["version_id"]


def test_a_checksum_of_checksums_is_not_taken_for_the_objects_own() -> None:
    whole = {"ChecksumSHA256": "AAAA", "ChecksumType": "FULL_OBJECT"}
    assert find_sha256(whole) == "000000"
    assert find_sha256(whole | {"ChecksumType": "COMPOSITE"}) is None
    assert find_sha256({"ChecksumSHA256": "AAAA-3"}) is None
    assert find_sha256({}) is None


def test_an_index_gives_the_digest_for_the_recipes_architecture(account: Account) -> None:
    arm, amd = image_manifest("arm"), image_manifest("amd", (1000, 2000))
    arm_digest = account.put("batch-processor", "arm", arm)
    amd_digest = account.put("batch-processor", "amd", amd)
    kind = "application/vnd.oci.image"
    index = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.index.v1+json",
        "manifests": [
            {"mediaType": f"{kind}.manifest.v1+json", "digest": digest, "size": 5,
             "platform": {"os": "linux", "architecture": architecture}}
            for digest, architecture in ((arm_digest, "arm64"), (amd_digest, "amd64"))
        ],
    }  # fmt: skip
    account.put("batch-processor", "multi", index)
    given = account.inputs()
    given["recipe"]["images"][0]["tag"] = "multi"
    checked = check(account, given).inputs
    assert checked["images"][0]["digest"] == amd_digest
    assert checked["resolved"]["images"][0]["layer_bytes"] == [1000, 2000]
    index["manifests"] = [m for m in index["manifests"] if m["digest"] == arm_digest]  # type: ignore[attr-defined]
    account.put("batch-processor", "only-arm", index)
    given["recipe"]["images"][0]["tag"] = "only-arm"
    reason = refusals(account, given)["recipe.images[0].tag"]
    assert "without linux/amd64 (it has linux/arm64)" in reason


def test_what_is_not_known_yet_is_left_out_and_the_rest_is_checked(account: Account) -> None:
    given = account.inputs()
    given["recipe"]["images"][0]["repository"] = UNKNOWN
    given["site"]["instance_profile"] = UNKNOWN
    given["site"]["security_group_ids"] = UNKNOWN
    inputs = check(account, given).inputs
    assert inputs["fingerprint"] == UNKNOWN
    assert inputs["manifest"] == UNKNOWN
    assert inputs["recipe"]["images"][0]["repository"] == UNKNOWN
    assert compare({"fingerprint": "x"}, inputs).replaces == ("fingerprint",)
    given["recipe"]["models"][0]["source"] = "s3://local-ml-models/nothing.pt"
    given["site"]["subnet_ids"] = ["subnet-00000000000000000"]
    assert set(refusals(account, given)) == {"recipe.models[0].source", "site.subnet_ids[0]"}


def test_a_volume_without_room_is_refused_with_the_sum(account: Account) -> None:
    account.push("big", layers=(4 * 1024**3,) * 4)
    given = account.inputs()
    given["recipe"]["images"][0]["tag"] = "big"
    reason = refusals(account, given)["recipe.root_volume.size_gib"]
    assert reason == (
        "is 30 GiB, but the image needs at least 51.0 GiB: base 6.0 + images unpacked 32.0 + "
        "layers in flight 12.0 + models 0.0 + free 1.0. Set at least 52; some gigabytes more for "
        "what jobs write."
    )


def test_groups_and_subnets_belong_to_one_vpc(account: Account) -> None:
    ec2 = account.aws.ec2
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    given = account.inputs()
    given["site"] |= {
        "subnet_ids": [account.subnets[0], subnet],
        "security_group_ids": [account.group, group],
    }
    found = refusals(account, given)
    assert f"{subnet} is in {vpc}" in found["site.subnet_ids[1]"]
    assert f"{group} is in {vpc}" in found["site.security_group_ids[1]"]


def test_two_files_of_two_prefixes_may_not_share_a_place(account: Account) -> None:
    for key in ("a/m.pt", "b/m.pt"):
        account.aws.s3.put_object(Bucket="local-ml-models", Key=key, Body=b"x")
    given = account.inputs()
    given["recipe"]["models"] = [
        {"source": f"s3://local-ml-models/{p}/", "destination": "/opt/ml/models"} for p in "ab"
    ]
    assert "/opt/ml/models/m.pt" in refusals(account, given)["recipe.models"]


def test_al2_is_warned_about(account: Account) -> None:
    given = account.inputs()
    given["recipe"]["base"] = {"source": "/bases/gpu", "family": "al2"}
    assert any("Amazon Linux 2." in note for note in check(account, given).notes)


def test_models_of_a_web_server_need_no_request_while_nothing_changes() -> None:
    model = Model(source="https://h/m.pt", destination="/opt/m.pt", sha256="A" * 64)
    assert model.sha256 == "a" * 64
