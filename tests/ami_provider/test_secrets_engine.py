"""What a program marks as secret is readable neither in what the real engine prints nor in its
state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ami_provider.options import Options, create_options
from tests.program.conftest import LocalCloud
from tests.program.conftest import cloud as cloud  # the fixture, by its name

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("options")]

SECRET: dict[str, Any] = {
    "secret": True,
    "tags": {"a": "tag-of-old", "b": "1"},
    "extra": {"ECS_OWN_LABEL": "label-of-old"},
    "logs": "s3://local-ml-models/place-of-old/",
    "script": "echo script-of-old",
}
RELABELLED = {"extra": {"ECS_OWN_LABEL": "label-of-new"}}
WORDS = ("-of-old", "of-new", "batch-processor", "detector.pt", "weights.pt")
"""What only secret values have."""


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    return ("--recorded",)


@pytest.fixture(scope="module")
def program(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Options:
    return create_options(cloud, tmp_path_factory.mktemp("secrets"))


def find_words(text: str) -> list[str]:
    return [word for word in WORDS if word in text]


def test_a_new_ami_shows_no_secret(program: Options) -> None:
    program.asks(**SECRET)
    told = program.run("preview", "--diff") + program.run("up", "--yes", "--diff")
    state = program.run("stack", "export")
    assert (find_words(told), find_words(state)) == ([], [])
    assert "manifest: [secret]" in told
    assert '"fingerprint": "' in state, "what is no secret stays readable"
    program.run("preview", "--expect-no-changes")


def test_changes_of_secrets_show_none(program: Options) -> None:
    changed = {"tags": {"a": "tag-of-new", "b": "2"}, "logs": "s3://local-ml-models/of-new/"}
    program.asks(**SECRET | changed)
    told = program.run("preview", "--diff")
    assert "tag a: [secret] -> [secret]" in told
    assert "tag b: [secret] -> [secret]" in told
    assert "site.logs: [secret] -> [secret], from the next bake on" in told
    program.asks(**SECRET | changed | RELABELLED)
    told += program.run("preview", "--diff")
    assert "ECS agent: ECS_OWN_LABEL [secret] -> [secret]" in told
    told += program.run("up", "--yes") + program.run("refresh", "--yes", "--skip-preview")
    assert find_words(told) == []
    assert find_words(program.run("stack", "export")) == []


def test_an_error_about_a_secret_does_not_say_it(program: Options) -> None:
    program.asks(**SECRET | {"logs": "a place-of-new"})
    refused = program.try_run("preview")
    assert refused.returncode != 0
    assert "is not a place in S3" in refused.stdout
    assert find_words(refused.stdout) == []


def test_what_is_no_secret_any_more_is_readable_again(program: Options) -> None:
    program.asks(**SECRET | RELABELLED | {"secret": False})
    told = program.run("preview")
    assert "no longer kept secret: recipe.agent.extra.ECS_OWN_LABEL" in told
    program.run("up", "--yes", "--skip-preview")
    assert program.outputs()["manifest"]["agent"]["extra"] == RELABELLED["extra"]
    program.run("destroy", "--yes", "--skip-preview")
