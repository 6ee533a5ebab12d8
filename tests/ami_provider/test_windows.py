"""A checkout made on Windows, its files with CRLF: the machine gets the same steps all the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from ami_provider import delivery, running
from ami_provider.aws import Aws
from ami_provider.recipe import ExtraStep
from tests.ami_provider.clouds import open_bakery

SCRIPT = "set -eu\necho one \\\n  two\n"


def with_crlf(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    for file in copy.iterdir():
        if file.is_file():
            text = file.read_bytes().replace(b"\r\n", b"\n")
            file.write_bytes(text.replace(b"\n", b"\r\n"))
    return copy


def test_steps_with_crlf_are_delivered_with_lf_and_bake_the_same_ami(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    delivered: list[dict[str, bytes]] = []

    def note(aws: Aws, machine_id: str, files: Mapping[str, bytes]) -> None:
        delivered.append({n: content for n, content in files.items() if n != running.SITE})
        delivery.deliver(aws, machine_id, files)

    monkeypatch.setattr(running, "deliver", note)
    with open_bakery(monkeypatch, real=False) as bakery:
        recipe = bakery.resolve(extra_steps=(ExtraStep(name="mine", script=SCRIPT),))
        baked = bakery.bake(recipe)
        as_on_linux = delivered[0]

    with_crlf(Path(running.__file__).parent / "steps", tmp_path / "steps")
    assert b"\r\n" in (tmp_path / "steps" / "run.sh").read_bytes()
    monkeypatch.setattr("ami_provider.running.resources.files", lambda _: tmp_path)
    with open_bakery(monkeypatch, real=False) as bakery:
        step = ExtraStep(name="mine", script=SCRIPT.replace("\n", "\r\n"))
        again = bakery.bake(bakery.resolve(extra_steps=(step,)))

    assert again.fingerprint == baked.fingerprint
    assert delivered[-1].keys() == delivered[0].keys()
    for files in delivered:
        assert [name for name, content in files.items() if b"\r" in content] == []
        scripts = {n: content for n, content in files.items() if n.startswith("steps/")}
        assert scripts == {n: as_on_linux[n] for n in scripts}
        assert len(scripts) > 12
