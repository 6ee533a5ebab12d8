"""The virtual environment: made, found done, taken up again, refused."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from toolchain.environment import STAMP_NAME, ensure_venv, link_cli
from toolchain.errors import SetupError
from toolchain.pulumi_cli import EXECUTABLES, PulumiCli


def make_wheel(folder: Path, version: str) -> str:
    """Write a small wheel of `stone`; return the locked line that asks for exactly it."""
    wheel = folder / f"stone-{version}-py3-none-any.whl"
    info = f"stone-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("stone.py", f"VERSION = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: stone\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return (
        f"stone=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def installed(venv: Path) -> str:
    command = [str(venv / "bin" / "python"), "-c", "import stone; print(stone.VERSION)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_it_is_made_once_updated_with_the_lock_and_taken_up_again(
    tmp_path: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv, lock = tmp_path / "the venv", tmp_path / "requirements-dev.txt"
    lock.write_text(make_wheel(wheels, "1.0"))
    ensure_venv(venv=venv, requirements=lock)
    assert installed(venv) == "1.0"
    assert "Installing 1 Python packages" in capsys.readouterr().err

    ensure_venv(venv=venv, requirements=lock)
    assert capsys.readouterr().err == "", "silent and quick when it is done"

    lock.write_text(make_wheel(wheels, "2.0"))
    ensure_venv(venv=venv, requirements=lock)
    assert installed(venv) == "2.0"

    lock.write_text("stone==2.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    (venv / STAMP_NAME).unlink()
    subprocess.run([venv / "bin/python", "-m", "pip", "uninstall", "-qy", "stone"], check=True)
    with pytest.raises(SetupError, match="Installing the Python packages failed") as refused:
        ensure_venv(venv=venv, requirements=lock)
    assert "DO NOT MATCH THE HASHES" in refused.value.details
    assert "pip config list" in refused.value.resolution
    assert not (venv / STAMP_NAME).exists(), "what failed is not taken for done"

    lock.write_text(make_wheel(wheels, "2.0"))
    ensure_venv(venv=venv, requirements=lock)
    assert installed(venv) == "2.0"


def test_one_whose_python_is_gone_is_made_anew(
    tmp_path: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv, lock = tmp_path / "venv", tmp_path / "requirements-dev.txt"
    lock.write_text(make_wheel(wheels, "1.0"))
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(tmp_path / "uninstalled" / "python3.11")
    (venv / "left over").touch()
    ensure_venv(venv=venv, requirements=lock)
    assert installed(venv) == "1.0"
    assert not (venv / "left over").exists()
    assert "Making a virtual environment" in capsys.readouterr().err


def test_a_built_cli_is_linked_and_the_links_go_when_one_is_installed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    first, second = (PulumiCli(tmp_path / name, "3", built=True) for name in ("one", "two"))
    for cli in (first, second):
        link_cli(cli, venv=tmp_path)
        link_cli(cli, venv=tmp_path)
        links = {path.name: path.readlink() for path in (tmp_path / "bin").iterdir()}
        assert links == {name: cli.folder / name for name in EXECUTABLES}
    link_cli(PulumiCli(Path("/usr/local/bin"), "3", built=False), venv=tmp_path)
    assert list((tmp_path / "bin").iterdir()) == []


def test_an_executable_that_is_no_link_stays(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pulumi").write_text("somebody's own")
    link_cli(PulumiCli(tmp_path / "built", "3", built=True), venv=tmp_path)
    assert (tmp_path / "bin" / "pulumi").read_text() == "somebody's own"
    link_cli(PulumiCli(tmp_path / "installed", "3", built=False), venv=tmp_path)
    assert (tmp_path / "bin" / "pulumi").read_text() == "somebody's own"
