"""A stamped folder is good as long as it is exactly what was stamped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.stamp import STAMP, find_fault, write_stamp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "tool").chmod(0o755)
    write_stamp(tmp_path)
    return tmp_path


def test_what_was_stamped_is_good_and_its_stamp_can_be_read(folder: Path) -> None:
    assert find_fault(folder) is None
    ((name, facts),) = json.loads((folder / STAMP).read_text())["files"].items()
    assert name == "bin/tool"
    assert facts["size"] == 10
    assert len(facts["sha256"]) == 64


TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "another byte": (lambda f: (f / "bin/tool").write_text("#!/bin/sx\n"), "bin/tool is not"),
    "cut short": (lambda f: (f / "bin/tool").write_text("#!"), "bin/tool is not"),
    "not executable": (lambda f: (f / "bin/tool").chmod(0o644), "bin/tool is not"),
    "a file less": (lambda f: (f / "bin/tool").unlink(), "missing"),
    "a file more": (lambda f: (f / "bin/other").touch(), "added"),
    "no stamp": (lambda f: (f / STAMP).unlink(), "no stamp"),
    "an empty stamp": (lambda f: (f / STAMP).write_text(""), "cannot be read"),
    "half a stamp": (lambda f: (f / STAMP).write_text('{"files": {"bin/'), "cannot be read"),
    "another document": (lambda f: (f / STAMP).write_text("[]"), "cannot be read"),
    "files as a list": (lambda f: (f / STAMP).write_text('{"files": []}'), "missing"),
    "stamped facts changed": (
        lambda f: (f / STAMP).write_text((f / STAMP).read_text().replace("10", "11")),
        "bin/tool is not",
    ),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_anything_else_is_a_fault(folder: Path, case: str) -> None:
    change, said = TAMPERING[case]
    change(folder)
    assert said in (find_fault(folder) or "no fault")


def test_a_folder_that_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    assert find_fault(tmp_path / "nowhere") == "it has no stamp"
