"""Each thing that AWS does not have or does not let us see, told on its own property."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ami_provider.checking import check_inputs
from ami_provider.faults import FaultsError
from ami_provider.unknowns import UNKNOWN
from tests.ami_provider.account import Account, Refusing, open_account
from tests.ami_provider.samples import ACCOUNT, REGION, REPOSITORY

OTHER = "111111111111"


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """One account for all: nothing here changes it."""
    with pytest.MonkeyPatch.context() as patch, open_account(patch) as opened:
        yield opened


def refusals(account: Account, given: dict[str, Any], aws: Any = None) -> dict[str, str]:
    with pytest.raises(FaultsError) as refused:
        check_inputs({}, given, lambda _: aws or account.aws)
    return {fault.path: fault.reason for fault in refused.value.faults}


@pytest.mark.parametrize(
    "place",
    [
        ("recipe", "models", 0, "source"),
        ("recipe", "models", 0, "destination"),
        ("recipe", "models"),
        ("recipe", "images"),
        ("recipe", "images", 0, "tag"),
        ("recipe", "base"),
        ("recipe", "encryption_key"),
        ("site", "subnet_ids", 0),
        ("site", "region"),
        ("site", "instance_types"),
        ("tags",),
    ],
    ids=lambda place: ".".join(map(str, place)),
)
def test_any_input_may_be_unknown(account: Account, place: tuple[Any, ...]) -> None:
    given = account.inputs()
    here: Any = given
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = UNKNOWN
    inputs = check_inputs({}, given, lambda _: account.aws).inputs
    is_recipe = place[0] == "recipe" or place == ("site", "region")
    assert (inputs["fingerprint"] == UNKNOWN) == is_recipe


def _put(*changes: tuple[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(given: dict[str, Any]) -> None:
        for place, value in changes:
            *above, last = place.split(".")
            here: Any = given
            for part in above:
                here = here[int(part)] if part.isdigit() else here[part]
            here[last] = value

    return change


NOT_THERE: list[tuple[str, Callable[[dict[str, Any]], None], str, str]] = [
    ("tag", _put(("recipe.images.0.tag", "latst")), "recipe.images[0].tag",
     "has no tag 'latst'. The nearest it has: latest."),
    ("far tag", _put(("recipe.images.0.tag", "v7")), "recipe.images[0].tag", "It has: latest."),
    ("repository", _put(("recipe.images.0.repository", f"{REPOSITORY}-2")),
     "recipe.images[0].repository", f"there is no repository 'batch-processor-2' in account "
     f"{ACCOUNT}, region {REGION}"),
    ("object", _put(("recipe.models.0.source", "s3://local-ml-models/models/YOLO.pt")),
     "recipe.models[0].source", "there is no object s3://local-ml-models/models/YOLO.pt"),
    ("bucket", _put(("recipe.models.0.source", "s3://no-such-bucket/yolo.pt")),
     "recipe.models[0].source", "there is no bucket 'no-such-bucket'"),
    ("prefix", _put(("recipe.models.0.source", "s3://local-ml-models/modells/")),
     "recipe.models[0].source", "there is no object below s3://local-ml-models/modells/"),
    ("prefix's bucket", _put(("recipe.models.0.source", "s3://no-such-bucket/models/")),
     "recipe.models[0].source", "there is no bucket 'no-such-bucket'"),
    ("sha256", _put(("recipe.models.0.sha256", "0" * 64)), "recipe.models[0].sha256",
     "but S3 has"),
    ("parameter", _put(("recipe.base", "/bases/cpu")), "recipe.base",
     "there is no SSM parameter '/bases/cpu'"),
    ("AMI", _put(("recipe.base", "ami-0123456789abcdef0")), "recipe.base",
     "there is no AMI ami-0123456789abcdef0"),
    ("key", _put(("recipe.encryption_key", "alias/none")), "recipe.encryption_key",
     "there is no KMS key 'alias/none' in ap-northeast-2"),
    ("subnet", _put(("site.subnet_ids", ["subnet-00000000000000000"])), "site.subnet_ids[0]",
     "there is no subnet subnet-00000000000000000 in ap-northeast-2"),
    ("group", _put(("site.security_group_ids", ["sg-00000000000000000"])),
     "site.security_group_ids[0]", "there is no security group sg-00000000000000000"),
    ("profile", _put(("site.instance_profile", "bilder")), "site.instance_profile",
     "there is no instance profile 'bilder'"),
    ("type", _put(("site.instance_types", ["g9.huge"])), "site.instance_types[0]",
     "there is no g9.huge in this region"),
    ("old GPU", _put(("site.instance_types", ["g4dn.xlarge", "p3.2xlarge"])),
     "site.instance_types[1]", "too old for the NVIDIA driver"),
    ("old GPU to verify", _put(("site.verify", "g3.4xlarge")), "site.verify", "too old"),
    ("Graviton", _put(("site.instance_types", ["g5g.xlarge"])), "site.instance_types[0]",
     "Graviton (arm64)"),
    ("sharing with oneself", _put(("publication", {"share_with": [OTHER, ACCOUNT]})),
     "publication.share_with[1]", f"{ACCOUNT} is this account itself"),
    ("trusting oneself", _put(("trusted_owners", [ACCOUNT])), "trusted_owners[0]",
     "is this account itself"),
    ("copy's region", _put(("publication", {"copies": [{"region": "us-west-9"}]})),
     "publication.copies[0].region", "there is no region 'us-west-9'. There are: "),
    ("copy's key", _put(("publication", {"copies": [
        {"region": "us-west-2", "encryption_key": "alias/none"}]})),
     "publication.copies[0].encryption_key", "there is no KMS key 'alias/none' in us-west-2"),
    ("past date", _put(("publication", {"deprecate_at": "2020-01-01"})),
     "publication.deprecate_at", "2020-01-01T00:00Z has passed. Give a later date"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "path", "reason"), NOT_THERE, ids=[n[0] for n in NOT_THERE]
)
def test_what_is_not_there_is_told_on_its_own_property(
    account: Account,
    name: str,
    change: Callable[[dict[str, Any]], None],
    path: str,
    reason: str,
) -> None:
    given = account.inputs()
    change(given)
    found = refusals(account, given)
    assert reason in found[path]


PUBLISHED = _put(("publication", {"share_with": [OTHER], "copies": [{"region": "us-west-2"}]}))
"""Makes the inputs ask what only a publication asks."""
OTHER_DENIED: list[tuple[Callable[[dict[str, Any]], None], str, str, str]] = [
    (_put(("recipe.models.0.source", "s3://local-ml-models/models/")), "list_objects_v2",
     "recipe.models[0].source", "permission s3:ListBucket on bucket local-ml-models"),
    (_put(("recipe.encryption_key", "alias/mine")), "describe_key", "recipe.encryption_key",
     "permission kms:DescribeKey on alias/mine is missing"),
    (PUBLISHED, "get_caller_identity", "publication.share_with[0]",
     "permission sts:GetCallerIdentity"),
    (PUBLISHED, "describe_regions", "publication.copies", "permission ec2:DescribeRegions"),
    (PUBLISHED, "get_ebs_encryption_by_default", "publication.share_with",
     "permission ec2:GetEbsEncryptionByDefault"),
    (_put(("trusted_owners", [OTHER])), "describe_images", "trusted_owners",
     "permission ec2:DescribeImages"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "action", "path", "reason"), OTHER_DENIED, ids=lambda v: str(v)[:30]
)
def test_a_refused_call_of_other_inputs_names_the_permission(
    account: Account,
    change: Callable[[dict[str, Any]], None],
    action: str,
    path: str,
    reason: str,
) -> None:
    given = account.inputs()
    change(given)
    refusing = Refusing(account.aws, **{action: "UnauthorizedOperation"})
    if path == "trusted_owners":  # its call comes after another of the same action
        refusing.only(action, when="Owners", having=[OTHER])
    assert reason in refusals(account, given, refusing)[path]


DENIED: list[tuple[str, str, str, str]] = [
    ("head_object", "403", "recipe.models[0].source", "permission s3:GetObject is missing"),
    ("batch_get_image", "AccessDeniedException", "recipe.images[0].repository",
     "permission ecr:BatchGetImage on repository batch-processor is missing"),
    ("get_parameter", "AccessDeniedException", "recipe.base", "permission ssm:GetParameter"),
    ("describe_images", "UnauthorizedOperation", "recipe.base", "permission ec2:DescribeImages"),
    ("describe_subnets", "UnauthorizedOperation", "site.subnet_ids",
     "permission ec2:DescribeSubnets"),
    ("describe_security_groups", "UnauthorizedOperation", "site.security_group_ids",
     "permission ec2:DescribeSecurityGroups"),
    ("describe_instance_type_offerings", "UnauthorizedOperation", "site.instance_types",
     "permission ec2:DescribeInstanceTypeOfferings"),
    ("get_instance_profile", "AccessDenied", "site.instance_profile",
     "permission iam:GetInstanceProfile on builder is missing"),
    ("get_parameter", "ThrottlingException", "recipe.base", "AWS throttled ssm:GetParameter"),
    ("head_object", "500", "recipe.models[0].source", "failed with 500"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "code", "path", "reason"), DENIED, ids=lambda v: str(v)[:40])
def test_a_refused_call_names_the_permission(
    account: Account, action: str, code: str, path: str, reason: str
) -> None:
    found = refusals(account, account.inputs(), Refusing(account.aws, **{action: code}))
    assert reason in found[path]


def test_bad_credentials_are_told_once(account: Account) -> None:
    codes = dict.fromkeys(
        ("head_object", "batch_get_image", "get_parameter", "describe_images"), "ExpiredToken"
    )
    found = refusals(account, account.inputs(), Refusing(account.aws, **codes))
    assert list(found) == ["site"]
    assert "Sign in again" in found["site"]
