"""Files reach a machine byte by byte, whatever is in them, in as few commands as they fit in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ami_provider import delivery
from ami_provider.aws import Aws


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands, which run here in place of a machine."""
    made: list[str] = []

    def run(_aws: Any, _machine: str, script: str, _why: str) -> None:
        made.append(script)
        subprocess.run(["bash", "-c", script], check=True)

    monkeypatch.setattr(delivery, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr(delivery, "_insist", run)
    return made


def test_what_is_in_a_file_does_not_matter(sent: list[str], tmp_path: Path) -> None:
    files = {
        "empty": b"",
        "no-newline": b"x",
        "nul": b"a\0b\n",
        "not-ascii": "größer\n".encode(),
        "quotes": b"$HOME `id` \\ 'one' \"two\"\n\tend\r\n",
        "its-own-end": f"{delivery.END}\n".encode(),
        "blank-lines": b"\n\n\n",
        "any-bytes": os.urandom(9_000),
        "steps/heredoc.sh": b"#!/bin/bash\ncat <<'.'\nhi\n.\n",
    }
    delivery.deliver(Aws("eu-west-1"), "i-1", files)

    for name, content in files.items():
        assert (tmp_path / "state" / name).read_bytes() == content, name


def test_the_steps_go_in_one_command_and_large_files_in_several(
    sent: list[str], tmp_path: Path
) -> None:
    steps = Path(delivery.__file__).parent / "steps"
    files = {f"steps/{f.name}": f.read_bytes() for f in steps.iterdir() if f.suffix != ".md"}
    delivery.deliver(Aws("eu-west-1"), "i-1", files)
    assert len(sent) == 1

    delivery.deliver(Aws("eu-west-1"), "i-1", files | {"models.tsv": os.urandom(80_000)})
    assert len(sent) > 2
    assert max(map(len, sent)) < 64 * 1024  # SSM takes no longer document.
    assert len(list((tmp_path / "state" / "steps").iterdir())) == len(files)
