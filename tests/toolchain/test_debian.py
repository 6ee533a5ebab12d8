"""Debian packages: named before they are installed, and never a reason to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolchain.base_disk import ensure_base_disk
from toolchain.debian import SWITCH, ensure_browser, ensure_packages, read_list

QUERY = """#!/bin/sh
for name; do
    case $name in
    have*) echo "$name installed" ;;
    gone*) echo "$name config-files" ;;
    esac
done
exit 1
"""
APT_GET = """#!/bin/sh
echo "$*" >>"$APT_LOG"
cat "$APT_LOG.messages" >&2
grep -q "update" "$APT_LOG" && [ -e "$APT_LOG.ok after update" ] && exit 0
[ -e "$APT_LOG.ok" ]
"""


@dataclass
class Debian:
    """A system whose dpkg-query and apt-get are made up."""

    root: Path

    def ensure(self, *names: str) -> None:
        listed = self.root / "list.txt"
        listed.write_text("# what machines need\n" + "".join(f"{n}  # why\n\n" for n in names))
        ensure_packages(listed_in=listed)

    def apt_calls(self) -> list[str]:
        log = self.root / "apt"
        return log.read_text().splitlines() if log.exists() else []

    def apt_works(self, when: str = "") -> None:
        (self.root / f"apt.ok{when}").touch()


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    for name, script in (("dpkg-query", QUERY), ("apt-get", APT_GET)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "apt.messages").write_text("E: Unable to locate package lack\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("APT_LOG", str(tmp_path / "apt"))
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Debian(tmp_path)


def test_nothing_is_said_or_done_when_all_is_there(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    debian.ensure("have-one", "have-two")
    assert debian.apt_calls() == []
    assert capsys.readouterr().err == ""


def test_what_is_missing_is_named_and_installed_without_an_update(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    debian.apt_works()
    debian.ensure("have-one", "lack", "gone-but-configured")
    (call,) = debian.apt_calls()
    assert call.endswith("install --yes --no-install-recommends lack gone-but-configured")
    assert "lack gone-but-configured" in capsys.readouterr().err


def test_lists_are_updated_only_when_the_ones_there_do_not_do(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    debian.apt_works(" after update")
    debian.ensure("lack")
    done = [w for call in debian.apt_calls() for w in call.split() if w in {"install", "update"}]
    assert done == ["install", "update", "install"]
    assert "only recorded" not in capsys.readouterr().err


def test_a_failing_apt_get_is_quoted_and_the_work_goes_on(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    debian.ensure("lack")
    said = capsys.readouterr().err
    assert "E: Unable to locate package lack" in said
    assert "machines are then only recorded" in said


def test_without_root_it_says_what_will_be_lacking_and_how_to_have_it(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    debian.ensure("have-one", "lack")
    said = capsys.readouterr().err
    assert debian.apt_calls() == []
    assert "machines are then only recorded" in said
    assert "apt-get install --no-install-recommends lack` as root" in said


def test_it_can_be_forbidden(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SWITCH, "no")
    debian.ensure("lack")
    assert debian.apt_calls() == []
    assert "lack" in capsys.readouterr().err


def test_another_system_is_told_once(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(debian.root / "empty"))
    debian.ensure("lack")
    assert capsys.readouterr().err.startswith("This is not a Debian system")


def test_a_browser_is_installed_where_there_is_none(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(debian.root))  # of which a Chromium is no part
    for name in ("sh", "cat", "grep"):
        (debian.root / name).symlink_to(f"/bin/{name}")
    ensure_browser()
    assert "the tests that look at a report in a browser then fail" in capsys.readouterr().err
    assert "install --yes --no-install-recommends chromium" in debian.apt_calls()[0]

    (debian.root / "apt").unlink()
    (debian.root / "google-chrome").symlink_to("/bin/true")
    ensure_browser()
    assert debian.apt_calls() == []


def test_a_list_that_is_not_there_asks_for_nothing(tmp_path: Path) -> None:
    assert read_list(tmp_path / "none.txt") == []


FAKE_PYTHON = """#!/bin/sh
echo "$1 $2" >>log
case $1 in -c) [ ! -e recorded ] ;; -m) [ ! -e broken ] ;; esac
"""


@pytest.mark.parametrize(
    ("system", "asked", "said"),
    [
        ("real", ["-c", "-m local_cloud.machines.base_disk"], ""),
        ("recorded", ["-c"], ""),
        ("broken", ["-c", "-m local_cloud.machines.base_disk"], "Going on without that disk"),
    ],
)
def test_the_base_disk_is_made_where_machines_are_real_and_never_stops_the_setup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], system: str, asked: list[str], said: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(FAKE_PYTHON)
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / system).touch()
    ensure_base_disk(venv=tmp_path, checkout=tmp_path)
    log = (tmp_path / "log").read_text().splitlines()
    assert [line if line.startswith("-m") else line[:2] for line in log] == asked
    assert said in capsys.readouterr().err
