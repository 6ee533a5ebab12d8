"""Pulumi's own resource options and commands on a baked AMI, on the real engine.

Told in order: each test goes on where the last ended, with the same content and so the same AMI.
"""

from __future__ import annotations

import pytest

from tests.ami_provider.options import Options, create_options
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("options")]

UP = ("up", "--yes", "--skip-preview")


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ("--recorded",)


@pytest.fixture(scope="module")
def program(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Options:
    return create_options(cloud, tmp_path_factory.mktemp("options"))


def list_images(cloud: LocalCloud) -> list[str]:
    return [image["id"] for image in cloud.inventory()["image"]]


def test_a_component_may_be_its_parent(program: Options, cloud: LocalCloud) -> None:
    program.asks(parent=True)
    ami = program.up()
    assert list_images(cloud) == [ami]
    assert "tests:index:Team$pulumi-python:" in program.urn
    program.run("preview", "--expect-no-changes")


def test_protected_it_is_neither_replaced_nor_destroyed(
    program: Options, cloud: LocalCloud
) -> None:
    program.asks(parent=True, options={"protect": True})
    ami = program.up()
    program.asks(parent=True, options={"protect": True}, script="echo other")
    for command in (UP, ("destroy", "--yes", "--skip-preview")):
        refused = program.try_run(*command)
        assert refused.returncode != 0
        assert "protect" in refused.stdout
    assert list_images(cloud) == [ami], "nothing was begun"
    program.run("destroy", "--yes", "--skip-preview", "--exclude-protected")
    assert list_images(cloud) == [ami]
    program.asks(parent=True)
    assert program.up() == ami


def test_an_import_is_refused_in_a_sentence(program: Options) -> None:
    program.asks(parent=True, options={"import_": program.outputs()["amiId"]})
    refused = program.try_run("preview")
    assert refused.returncode != 0
    assert "BakedAmi 'own' cannot be imported" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_what_the_state_forgot_is_taken_again(program: Options, cloud: LocalCloud) -> None:
    program.asks(parent=True)
    ami = program.outputs()["amiId"]
    program.run("state", "delete", program.urn, "--yes")
    assert program.up() == ami
    assert list_images(cloud) == [ami]


def test_forced_to_be_replaced_the_same_ami_stays(program: Options, cloud: LocalCloud) -> None:
    ami = program.outputs()["amiId"]
    told = program.run(*UP, "--replace", program.urn)
    assert "has this content: used, not baked" in told
    assert "left alone" not in told
    assert list_images(cloud) == [ami]


def test_deleted_first_the_same_content_is_baked_anew(program: Options, cloud: LocalCloud) -> None:
    former = program.outputs()["amiId"]
    program.asks(parent=True, options={"delete_before_replace": True})
    program.run(*UP, "--replace", program.urn)
    ami = program.outputs()["amiId"]
    assert ami != former
    assert list_images(cloud) == [ami]


def test_what_was_retained_is_taken_again_and_goes_at_the_end(
    program: Options, cloud: LocalCloud
) -> None:
    program.asks(parent=True, options={"retain_on_delete": True})
    ami = program.up()
    program.asks(parent=True, options={"retain_on_delete": True}, script="echo other")
    other = program.up()
    program.destroy()
    assert sorted(list_images(cloud)) == sorted([ami, other])
    program.asks(parent=True)
    assert program.up() == ami
    program.destroy()
    assert list_images(cloud) == []
