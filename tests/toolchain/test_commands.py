"""The small commands behind make: on the local cloud, clean, locks, CI, and the Makefile itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.conftest import CHECKOUT
from toolchain import on_local_cloud
from toolchain.clean import clean
from toolchain.locks import locked
from toolchain.requirements_lock import find_faults

FAKE_PULUMI = """#!/bin/sh
echo "$*" >>"$PULUMI_LOG"
[ ! -e "$PULUMI_LOG.fail $1" ] || exit 7
"""


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up `pulumi` and an empty file backend; the path of the log of its calls."""
    (tmp_path / "pulumi").write_text(FAKE_PULUMI)
    (tmp_path / "pulumi").chmod(0o755)
    (tmp_path / "python").write_text('#!/bin/sh\ncat "$PULUMI_LOG.inventory"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "log.inventory").write_text('{"machine": [], "image": []}')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/backend")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return tmp_path / "log"


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_up_selects_updates_and_prints_the_outputs(pulumi: Path) -> None:
    assert on_local_cloud.main(["up", "--skip-preview"]) == 0
    assert calls(pulumi) == [
        "stack select --create local",
        "up --yes --suppress-outputs --stack local --skip-preview",
        "stack output --stack local",
    ]


@pytest.mark.parametrize(("command", "part"), [("up", "up"), ("preview", "preview")])
def test_the_exit_status_of_the_part_that_fails_comes_through(
    pulumi: Path, command: str, part: str
) -> None:
    (pulumi.parent / f"log.fail {part}").touch()
    assert on_local_cloud.main([command]) == 7
    assert calls(pulumi)[-1].startswith(part), "nothing runs after a failure"


def test_the_lock_of_an_update_that_was_killed_is_taken_away(pulumi: Path) -> None:
    lock = pulumi.parent / "backend/.pulumi/locks/organization/baked-ami/local/1.json"
    lock.parent.mkdir(parents=True)
    assert on_local_cloud.main(["preview"]) == 0
    assert "cancel --yes --stack local" not in calls(pulumi)
    lock.touch()
    assert on_local_cloud.main(["preview"]) == 0
    assert calls(pulumi)[-2:] == ["cancel --yes --stack local", "preview --stack local"]


def test_down_destroys_and_shows_that_nothing_is_left(
    pulumi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_local_cloud.main(["down"]) == 0
    assert calls(pulumi)[-1] == "destroy --yes --stack local"
    assert "inventory is empty" in capsys.readouterr().err


def test_down_fails_and_names_what_is_left(
    pulumi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pulumi.parent / "log.inventory").write_text('{"machine": [], "image": [{"id": "ami-1"}]}')
    assert on_local_cloud.main(["down"]) == 1
    said = capsys.readouterr().err
    assert "ami-1" in said
    assert "machine" not in said


def test_without_a_local_cloud_nothing_is_touched(
    pulumi: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert on_local_cloud.main(["up"]) == 2
    assert not pulumi.exists()
    assert "make up" in capsys.readouterr().err


def test_clean_removes_what_was_made_and_nothing_else(tmp_path: Path) -> None:
    made = [".local-cloud/disks", ".mypy_cache", ".hypothesis", "batch/__pycache__", "__pycache__"]
    kept = [".venv/lib/__pycache__", ".git/__pycache__", "batch/steps"]
    for name in made + kept:
        (tmp_path / name).mkdir(parents=True)
    assert clean(tmp_path) == 0
    assert not any((tmp_path / name).exists() for name in made)
    assert not (tmp_path / ".local-cloud").exists()
    assert all((tmp_path / name).exists() for name in kept)
    assert clean(tmp_path) == 0


def test_clean_removes_nothing_while_a_local_cloud_runs_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / ".local-cloud" / "lock"
    with locked(lock, waiting_for="nothing"):
        assert clean(tmp_path) == 1
        assert lock.exists()
    assert "a local cloud is running" in capsys.readouterr().err
    assert clean(tmp_path) == 0
    assert not lock.exists()


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    for name in (
        "requirements.in",
        "requirements-dev.in",
        "requirements.txt",
        "requirements-dev.txt",
    ):
        shutil.copy(CHECKOUT / name, tmp_path)
    return tmp_path


def test_the_locks_fit_their_sources(locks: Path) -> None:
    assert find_faults(locks) == []


def test_a_source_that_changed_makes_its_lock_and_those_built_on_it_old(locks: Path) -> None:
    with (locks / "requirements-dev.in").open("a") as file:
        file.write("another\n")
    assert find_faults(locks) == [
        "requirements-dev.txt was not made from requirements-dev.in as it is now"
    ]
    with (locks / "requirements.in").open("a") as file:
        file.write("# a comment counts for nothing\nanother\n")
    assert len(find_faults(locks)) == 2


def test_a_lock_without_a_hash_or_with_a_place_is_a_fault(locks: Path) -> None:
    with (locks / "requirements.txt").open("a") as file:
        file.write("naked==1.0\n--extra-index-url https://example.com/simple\n")
    (locks / "requirements-dev.txt").unlink()
    faults = "\n".join(find_faults(locks))
    assert "naked==1.0 has no hash" in faults
    assert "requirements.txt names a place" in faults
    assert "requirements-dev.txt is missing" in faults


def test_ci_runs_make_test_from_anywhere_with_no_input_and_its_status(tmp_path: Path) -> None:
    (tmp_path / "make").write_text('#!/bin/sh\npwd\necho "$@"\ncat\nexit 3\n')
    (tmp_path / "make").chmod(0o755)
    ran = subprocess.run(
        [CHECKOUT / ".ci" / "run"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "CI": "true"},
        input="typed by nobody",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == [str(CHECKOUT), "test"]
    assert ran.returncode == 3


MAKE_PYTHON = """#!/bin/sh
echo "$*" >>calls
[ ! -e "fail $2" ]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with spaces in its path that has the Makefile, and a Python that only logs."""
    folder = tmp_path / "a path with spaces"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(CHECKOUT / "Makefile", folder)
    (folder / ".venv" / "bin" / "python").write_text(MAKE_PYTHON)
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(folder), f"PYTHON={folder}/.venv/bin/python", *arguments],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_explains_every_command(checkout: Path) -> None:
    explained = make(checkout).stdout
    commands = ("setup", "up", "preview", "down", "inventory", "test", "check", "lock", "clean")
    for command in (*commands, "help"):
        assert f"\n  {command} " in explained
    assert not (checkout / "calls").exists()


@pytest.mark.parametrize("command", ["up", "preview", "down"])
def test_make_sets_up_and_runs_on_the_kept_state(checkout: Path, command: str) -> None:
    assert make(checkout, command, "ARGS=--diff").returncode == 0
    assert calls(checkout / "calls") == [
        "-m toolchain setup",
        "-m local_cloud run --state .local-cloud -- .venv/bin/python "
        f"-m toolchain.on_local_cloud {command} --diff",
    ]


@pytest.mark.parametrize("fails", ["toolchain", "local_cloud"])
def test_make_stops_at_a_failure_and_passes_it_on(checkout: Path, fails: str) -> None:
    (checkout / f"fail {fails}").touch()
    assert make(checkout, "up").returncode != 0
    assert len(calls(checkout / "calls")) == (1 if fails == "toolchain" else 2)


def test_make_without_python_says_so(checkout: Path) -> None:
    ran = make(checkout, "setup", "PYTHON=")
    assert ran.returncode != 0
    assert "no Python 3.11 or newer" in ran.stderr
