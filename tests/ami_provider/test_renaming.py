"""A resource under another name, by an alias or in a renamed stack, and the AMIs that it owns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ami_provider import tags
from ami_provider.renaming import move_claims
from ami_provider.site import Lineage
from tests.ami_provider.clouds import Bakery, create_profile, open_bakery
from tests.ami_provider.stacks import REPOSITORY, Account, Stack
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

PROGRAM = f"""

import pulumi
from ami_provider import BakedAmi, BuildSiteArgs, ContainerImageArgs, ExtraStepArgs, ImageRecipeArgs

get = pulumi.Config().get
site = BuildSiteArgs(
    region="ap-northeast-2",
    subnet_ids=["subnet-0a10ca10000000001"],
    security_group_ids=["sg-0a10ca1000000000f"],
    instance_profile="builder",
)
recipe = ImageRecipeArgs(
    images=[ContainerImageArgs(repository="{REPOSITORY}", tag="latest")],
    extra_steps=[ExtraStepArgs(name="mark", script=f"echo {{get('version')}}")],
)
options = pulumi.ResourceOptions(aliases=[pulumi.Alias(name=get("alias"))] if get("alias") else [])
ami = BakedAmi(get("name"), recipe=recipe, site=site, keep=1, opts=options)
pulumi.export("amiId", ami.ami_id)
"""


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ("--recorded",)


@pytest.mark.engine
@pytest.mark.xdist_group("renaming")
def test_a_renamed_resource_keeps_its_amis_and_deletes_them(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    create_profile(cloud.client("iam"))
    (tmp_path / "Pulumi.yaml").write_text("name: named\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    stack, account = Stack(cloud, "dev", tmp_path), Account(cloud)

    def held() -> set[str]:
        return {image["id"] for image in cloud.inventory()["image"]}

    stack.run("stack", "init")
    stack.set(name="one", version="1")
    first = stack.up()
    stack.set(name="two", alias="one")
    assert "its owner is renamed: urn:pulumi:dev::named::" in stack.run("preview", "--diff")
    assert stack.up() == first, "no bake for a name"
    stack.run("preview", "--expect-no-changes")
    assert len(tags.find_owners(account.tags(first))) == 1

    stack.set(name="three", alias="two", version="2")  # Another name and other content at once.
    second = stack.up()
    assert held() == {first, second}, "the first stays for a rollback"
    stack.set(version="3")
    third = stack.up()
    assert held() == {second, third}

    stack.run("stack", "rename", "prod")
    stack = Stack(cloud, "prod", tmp_path)
    assert stack.up() == third
    state = json.dumps(stack.state_of_ami())
    assert "urn:pulumi:prod" in state
    assert "urn:pulumi:dev" not in state
    stack.destroy()
    assert held() == set()


def test_what_the_new_name_says_already_is_newer_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_bakery(monkeypatch, real=False) as bakery:
        old, new = bakery.lineage(name="old"), bakery.lineage(name="new")
        baked = bakery.bake(lineage=old, keep=2)
        again = bakery.bake(lineage=new, keep=2)
        assert again.ami_id == baked.ami_id
        before = _tags(bakery, baked.ami_id)
        for _ in range(2):
            move_claims(bakery.aws, old, new)
            found = _tags(bakery, baked.ami_id)
            assert tags.find_owners(found) == {tags.get_owner_key(new): again.owner_nonce}
            gone = {tags.get_owner_key(old), tags.get_keep_key(old)}
            assert before.keys() - found.keys() == gone
            assert found[tags.LINEAGE] == tags.get_path(new)
        move_claims(bakery.aws, Lineage(project="p", stack="s", name="n"), new)
        assert _tags(bakery, baked.ami_id) == found, "of others nothing is moved"


def _tags(bakery: Bakery, image_id: str) -> dict[str, str]:
    (found,) = bakery.aws.ec2.describe_images(ImageIds=[image_id])["Images"]
    return tags.to_mapping(found["Tags"])
