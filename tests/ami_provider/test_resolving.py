"""Objects, prefixes, indexes, keys and policies: how each is looked up, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from threading import Barrier, Lock
from typing import Any

import pytest

from ami_provider.checking import check_inputs
from ami_provider.comparing import compare
from ami_provider.faults import FaultsError
from ami_provider.lookups.asking import ask_all
from ami_provider.lookups.models import find_sha256
from ami_provider.unknowns import UNKNOWN
from tests.ami_provider.account import Account, image_manifest
from tests.ami_provider.samples import REPOSITORY


def check(account: Account, given: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
    return check_inputs(olds or {}, given, lambda _: account.aws)


def refusals(
    account: Account, given: dict[str, Any], aws: Any = None, olds: dict[str, Any] | None = None
) -> dict[str, str]:
    with pytest.raises(FaultsError) as refused:
        check_inputs(olds or {}, given, lambda _: aws or account.aws)
    return {fault.path: fault.reason for fault in refused.value.faults}


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
    olds = check(account, given).inputs
    models = olds["manifest"]["models"]
    assert len(models) == 1005
    assert models[1004]["destination"] == "/opt/ml/models/sub/1004"
    asked: Counter[str] = Counter()
    for client in (account.aws.s3, account.aws.ecr, account.aws.ssm, account.aws.ec2):
        client.meta.events.register("before-call", lambda model, **_: asked.update([model.name]))
    assert check(account, given, olds).inputs == olds
    assert asked == {"ListObjectsV2": 2, "HeadObject": 1005, "BatchGetImage": 1, "GetParameter": 1}


def test_sixteen_things_are_asked_at_a_time() -> None:
    """Each waits for fifteen others, so fewer at a time would never be answered."""
    together, lock, under_way, most = Barrier(16), Lock(), 0, 0

    def ask() -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        place = together.wait(timeout=120)
        with lock:
            under_way -= 1
        return place

    answers, faults = ask_all([ask] * 64)
    assert faults == []
    assert Counter(answers) == dict.fromkeys(range(16), 4)
    assert most == 16


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


def test_what_awss_own_key_encrypts_is_not_shared_and_what_ones_own_does_is(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody names a key and the region encrypts by default."""
    ec2, kms = account.aws.ec2, account.aws.client("kms")
    mine, awss = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    ask = kms.describe_key

    def describe(KeyId: str) -> Any:  # noqa: N803
        found = ask(KeyId=KeyId)
        found["KeyMetadata"]["KeyManager"] = "AWS" if awss in KeyId else "CUSTOMER"
        return found

    monkeypatch.setattr(kms, "describe_key", describe)
    given = account.inputs() | {"publication": {"share_with": ["111111111111"]}}
    assert check(account, given).inputs["fingerprint"]
    ec2.enable_ebs_encryption_by_default()
    for default, named, is_refused in (
        (awss, None, True),
        (mine, None, False),
        (awss, mine, False),
        (mine, awss, True),
    ):
        monkeypatch.setattr(
            ec2, "get_ebs_default_kms_key_id", lambda key=default: {"KmsKeyId": key}
        )
        given["recipe"].pop("encryption_key", None)
        if named:
            given["recipe"]["encryption_key"] = named
        if is_refused:
            told = refusals(account, given)["publication.share_with"]
            assert "is a key of AWS's own, and what it encrypts cannot be shared" in told
        else:
            assert check(account, given).inputs["fingerprint"]


def test_a_key_that_is_disabled_or_asymmetric_is_refused(account: Account) -> None:
    kms = account.aws.client("kms")
    off = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=off)
    pair = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    good = kms.create_key()["KeyMetadata"]["KeyId"]
    given = account.inputs()
    for key, reason in ((off, "is Disabled"), (pair, "EBS takes symmetric keys only")):
        given["recipe"]["encryption_key"] = key
        assert reason in refusals(account, given)["recipe.encryption_key"]
    given["recipe"]["encryption_key"] = good
    assert check(account, given).inputs["manifest"]["encryption_key"] == good


def _rule(priority: int, **selection: Any) -> dict[str, Any]:
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}


EXPIRING: list[tuple[str, list[dict[str, Any]], str | None]] = [
    ("none", [], None),
    ("any", [_rule(1, tagStatus="any", countType="imageCountMoreThan", countNumber=9)],
     "when there are more than 9 such images"),
    ("untagged", [_rule(1, tagStatus="untagged", countType="sinceImagePushed", countUnit="days",
                        countNumber=14)], None),
    ("prefix", [_rule(2, tagStatus="tagged", tagPrefixList=["lat"], countType="sinceImagePushed",
                      countUnit="days", countNumber=14)], "rule 2"),
    ("two prefixes", [_rule(1, tagStatus="tagged", tagPrefixList=["lat", "v"],
                            countType="imageCountMoreThan", countNumber=9)], None),
    ("pattern", [_rule(1, tagStatus="tagged", tagPatternList=["*test"],
                       countType="imageCountMoreThan", countNumber=9)], "more than 9"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rules", "said"), EXPIRING, ids=[e[0] for e in EXPIRING])
def test_a_pinned_digest_that_the_policy_would_expire_is_told(
    account: Account, name: str, rules: list[dict[str, Any]], said: str | None
) -> None:
    if rules:
        account.aws.ecr.put_lifecycle_policy(
            repositoryName="batch-processor", lifecyclePolicyText=json.dumps({"rules": rules})
        )
    digest = check(account, account.inputs()).inputs["images"][0]["digest"]
    given = account.inputs()
    given["recipe"]["images"] = [{"repository": REPOSITORY, "digest": digest}]
    told = [note for note in check(account, given).notes if "lifecycle" in note]
    assert bool(told) == bool(said)
    assert (said or "") in "".join(told)
    by_tag = check(account, account.inputs()).notes
    assert not any("lifecycle" in note for note in by_tag)
