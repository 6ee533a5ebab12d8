"""`make bench`: each measurement's targets in one table, met or not; it fails where one is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import all as every
from benchmarks.measuring import Target, finish, spread


def write(folder: Path, name: str, told: dict[str, Any], status: int) -> None:
    """A measurement that tells this."""
    (folder / "benchmarks" / f"{name}.py").write_text(
        f"import pathlib, sys\npathlib.Path(sys.argv[-1]).write_text({json.dumps(told)!r})\n"
        f"print('its own table')\nsys.exit({status})\n"
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(every, "ROOT", tmp_path)
    return tmp_path


def run(folder: Path) -> tuple[int, str, list[dict[str, Any]]]:
    told = folder / "told.json"
    done = CliRunner().invoke(every.main, ["--folder", str(folder / "out"), "--json", str(told)])
    return done.exit_code, done.output, json.loads(told.read_text())["measurements"]


def test_every_target_is_shown_and_one_that_is_not_met_fails_the_whole(folder: Path) -> None:
    good, bad = Target("calls", 30, most=37), Target("share of the link", 0.5, least=0.9)
    write(folder, "scale", {"targets": [good.to_json(), bad.to_json()]}, 1)
    write(folder, "preview", {"ratio": 1.1, "limit": 1.35}, 0)

    status, output, told = run(folder)

    assert status == 1
    assert [one["name"] for one in told] == ["preview", "scale"]
    assert [t["met"] for one in told for t in one["targets"]] == [True, True, False]
    for text in ("≤ 1.35", "≤ 37", "≥ 0.9", "share of the link", "NO"):
        assert text in output
    assert (folder / "out" / "scale.txt").read_text() == "its own table\n"


def test_all_met_is_well_and_one_that_breaks_is_not(folder: Path) -> None:
    write(folder, "scale", {"targets": []}, 0)
    assert run(folder)[0] == 0
    write(folder, "scale", {}, 3)
    assert run(folder)[0] == 1


def test_a_target_is_met_up_to_its_limit(tmp_path: Path) -> None:
    assert Target("x", 1.5, most=1.5).met
    assert not Target("x", 1.51, most=1.5).met
    assert not Target("x", 0.89, least=0.9).met
    kept = tmp_path / "kept.json"
    assert finish({"rounds": 2}, [Target("x", 2, most=1)], kept) == 1
    assert json.loads(kept.read_text())["targets"][0]["met"] is False
    assert spread([3.0, 1.0, 2.0]) == "1.0 / 2.0 / 3.0"
