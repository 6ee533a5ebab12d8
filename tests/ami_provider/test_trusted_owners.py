"""Another account's AMI, used because its owner is trusted: adopted, seen, and never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ami_provider import life, refreshing, updating
from ami_provider.aws import Aws
from ami_provider.bake import bake
from ami_provider.checking import check_inputs
from ami_provider.comparing import compare
from ami_provider.errors import BakeError
from ami_provider.faults import FaultsError
from ami_provider.life import delete_owned
from ami_provider.publication import Publication
from ami_provider.publishing import publish
from ami_provider.refreshing import find_ami
from ami_provider.unknowns import UNKNOWN
from ami_provider.updating import update_ami
from tests.ami_provider.clouds import Bakery, open_bakery
from tests.ami_provider.samples import ACCOUNT, REGION, inputs

OTHER = "210987654321"
READS = ("Describe", "Get", "List", "Head", "BatchGet")


class Theirs(Aws):
    """The other account's clients. What a recipe names is in ours, and it may read that there."""

    def __init__(self, own: Aws) -> None:
        super().__init__(own.region)
        self._own = own
        self.calls: Counter[str] = Counter()

    def client(self, service: str, region: str | None = None, *, retries: bool = True) -> Any:
        if service in ("ecr", "s3", "ssm"):
            return self._own.client(service, region, retries=retries)
        return super().client(service, region, retries=retries)

    def note(self) -> None:
        self.ec2.meta.events.register("before-call", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self.calls[model.name] += 1

    def changes(self) -> list[str]:
        return [name for name in self.calls if not name.startswith(READS)]


@dataclass
class Two:
    """An AMI of one account, and another account that may trust it."""

    bakery: Bakery
    theirs: Theirs
    ami: str

    def share(self, *accounts: str) -> None:
        """What the owner's program does."""
        publish(
            self.ami,
            Publication(share_with=accounts),
            lineage=self.bakery.lineage(),
            aws=self.bakery.aws,
            report=self.bakery.said.append,
            timeout_s=30,
            user_tags={},
        )

    def given(self, **more: Any) -> dict[str, Any]:
        """The other account's inputs; its network is not known yet."""
        given = inputs()
        given["recipe"]["models"] = [
            {"source": "s3://local-ml-models/models/", "destination": "/opt/ml/models/"}
        ]
        keys = ("subnet_ids", "security_group_ids", "instance_profile")
        given["site"] |= dict.fromkeys(keys, UNKNOWN)
        return given | {"trusted_owners": [ACCOUNT]} | more

    def create(self) -> dict[str, Any]:
        """As the engine does, once it knows the network."""
        known = self.given(site=inputs()["site"])
        derived = check_inputs({}, self.given(), lambda _: self.theirs).inputs
        return life.create_ami(derived | known)

    def tags(self) -> dict[str, str]:
        (found,) = self.bakery.aws.ec2.describe_images(ImageIds=[self.ami])["Images"]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with pytest.MonkeyPatch.context() as patch, open_bakery(patch, real=False) as bakery:
        ami = bakery.bake().ami_id
        keys = bakery.aws.sts.assume_role(
            RoleArn=f"arn:aws:iam::{OTHER}:role/any", RoleSessionName="other"
        )["Credentials"]
        patch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
        patch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
        theirs = Theirs(bakery.aws)
        assert theirs.sts.get_caller_identity()["Account"] == OTHER
        theirs.note()
        for module in (life, refreshing, updating):
            patch.setattr(module, "get_aws", lambda _: theirs)
        yield Two(bakery, theirs, ami)


@pytest.fixture
def outs(two: Two) -> dict[str, Any]:
    """The other account's state once it has adopted the AMI."""
    two.share(OTHER)
    two.theirs.calls.clear()
    return two.create()


def test_what_is_not_shared_or_whose_owner_is_not_trusted_is_not_used(two: Two) -> None:
    two.share()
    for given in (two.given(), two.given(trusted_owners=["111111111111"])):
        checked = check_inputs({}, given, lambda _: two.theirs)
        assert checked.inputs.get("ami_id") is None
        assert any("no AMI has this content yet" in note for note in checked.notes)


def test_what_is_shared_is_known_at_preview_and_adopted_without_a_trace(
    two: Two, outs: dict[str, Any]
) -> None:
    before = two.tags()
    checked = check_inputs({}, two.given(), lambda _: two.theirs)
    assert (checked.inputs["ami_id"], checked.inputs["owner_id"]) == (two.ami, ACCOUNT)
    assert any(f"{two.ami} of account {ACCOUNT}, which is trusted" in n for n in checked.notes)
    assert (outs["ami_id"], outs["owner_id"], outs["owner_nonce"]) == (two.ami, ACCOUNT, "")
    assert two.theirs.changes() == []
    assert two.tags() == before, "nobody there owns it: tags of others cannot be seen"


def test_it_is_not_published_by_who_only_uses_it(two: Two, outs: dict[str, Any]) -> None:
    asked = {"share_with": ["111111111111"]}
    with pytest.raises(FaultsError, match=f"{two.ami} of account {ACCOUNT} is used, and only its"):
        check_inputs({}, two.given(publication=asked), lambda _: two.theirs)
    with pytest.raises(BakeError, match=f"{two.ami} cannot be published"):
        update_ami(two.ami, outs, outs | {"publication": asked})
    assert two.theirs.changes() == []


def test_update_and_delete_leave_it_alone(two: Two, outs: dict[str, Any]) -> None:
    kept = update_ami(two.ami, outs, outs | {"tags": {"team": "audio"}, "keep": 1})
    assert kept == outs | {"tags": {"team": "audio"}, "keep": 1}
    delete_owned(two.ami, outs)
    delete_owned(two.ami, outs)
    assert two.theirs.changes() == []
    assert two.tags()


def test_refresh_shows_that_it_is_no_longer_shared_and_only_then_it_is_replaced(
    two: Two, outs: dict[str, Any]
) -> None:
    assert find_ami(two.ami, outs) == outs
    assert compare(outs, outs).changes is False
    two.share()
    gone = find_ami(two.ami, outs)
    assert gone == outs | {"state": "unshared"}
    change = compare(gone, outs)
    assert change.replaces == ("ami_id",)
    assert change.lines == (
        f"the AMI is replaced: account {ACCOUNT} has deleted it, or does not share it with this "
        f"one any more.",
    )
    two.share(OTHER)
    assert find_ami(two.ami, gone) == outs


def test_it_is_replaced_once_its_owner_is_not_trusted_any_more(outs: dict[str, Any]) -> None:
    change = compare(outs, outs | {"trusted_owners": []})
    assert change.replaces == ("ami_id",)
    assert f"its account {ACCOUNT} is not in trusted_owners any more" in change.lines[0]


def test_an_ami_of_the_own_account_comes_first(two: Two) -> None:
    """And who owns the shared one never takes it for another account's."""
    two.share(OTHER)
    again = bake(
        two.bakery.resolve(), two.bakery.site(), two.bakery.lineage("prod"), aws=two.bakery.aws,
        report=two.bakery.said.append, trusted_owners=(OTHER,),
    )  # fmt: skip
    assert (again.ami_id, again.owner_id, again.adopted) == (two.ami, "self", True)
    assert again.owner_nonce
    assert again.fingerprint == two.tags()["baked-ami:fingerprint"]
    assert two.bakery.aws.region == REGION
