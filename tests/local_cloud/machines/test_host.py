"""What the host is asked before machines are real, and where their packages come from."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from local_cloud.machines.base_disk import Distribution, find_distribution
from local_cloud.machines.contract import MachineError
from local_cloud.machines.host import needed_packages, why_not_real

RELEASE = "ID={id}\nVERSION_CODENAME={suite}\n"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "mkfs.xfs" else name)
    assert why_not_real() == ("these packages are not installed: apt-get install xfsprogs")


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "need root" in (why_not_real() or "")


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert why_not_real() == "real machines need Linux, and this is darwin"


def test_every_needed_package_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    said = why_not_real() or ""
    assert said.rpartition("install ")[2].split() == needed_packages()
    assert "xfsprogs" in needed_packages()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "sources.list.d/debian.sources",
            "Types: deb\n# URIs: http://old.test/\nURIs: http://mirror.test/debian\nSuites: x\n",
        ),
        (
            "sources.list",
            "# deb http://old.test x main\ndeb http://mirror.test/debian bookworm main\n",
        ),
        (
            "sources.list.d/x.list",
            "deb [signed-by=/k.gpg arch=amd64] http://mirror.test/debian bookworm main\n",
        ),
    ],
)
def test_the_mirror_is_the_one_of_apt(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(RELEASE.format(id="debian", suite="bookworm"))
    (tmp_path / "apt" / file).write_text(text)
    assert find_distribution(tmp_path) == Distribution(
        "http://mirror.test/debian", "bookworm", ("main",)
    )


def test_ubuntu_keeps_docker_in_universe(tmp_path: Path) -> None:
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(RELEASE.format(id="ubuntu", suite="noble"))
    (tmp_path / "apt" / "sources.list").write_text("deb http://mirror.test/ubuntu noble main\n")
    assert find_distribution(tmp_path).components == ("main", "universe")


def test_no_mirror_is_said(tmp_path: Path) -> None:
    (tmp_path / "apt").mkdir()
    (tmp_path / "os-release").write_text(RELEASE.format(id="debian", suite="bookworm"))
    with pytest.raises(MachineError, match="apt has no mirror here"):
        find_distribution(tmp_path)
