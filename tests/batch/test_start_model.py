"""The model of a job's start: what each way costs, and that every figure says where it is from."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from batch.start_model import main, table
from batch.starts import FIGURES, VARIANTS, Sizes, model_start

MEASURED = {
    "jobs": {
        "plain": {
            "status": "SUCCEEDED",
            "reason": "",
            "image": "pulled",
            "times": {
                "submitted": 100.0,
                "machine_up": 120.0,
                "agent_up": 130.0,
                "image_ready": 170.0,
                "started": 171.5,
            },
        },
        "baked": {"status": "FAILED", "reason": "no machine", "image": "-", "times": {}},
    }
}


def test_every_figure_has_a_source_and_a_range() -> None:
    for name, figure in FIGURES.items():
        assert 0 < figure.low <= figure.high, name
        assert len(figure.source) > 20, name


def test_the_best_case_is_never_slower_than_the_worst() -> None:
    for row in table(Sizes()):
        assert row["total"]["low"] <= row["total"]["high"]
        stages = row["stages"].values()
        assert abs(sum(one["high"] for one in stages) - row["total"]["high"]) < 1


def test_baked_and_warm_is_faster_than_plain_and_a_rate_is_as_good_as_fast_restore() -> None:
    worst = {v: model_start(v, Sizes(), best=False).total for v in VARIANTS}
    best = {v: model_start(v, Sizes(), best=True).total for v in VARIANTS}
    assert worst["baked, rate"] < worst["baked, cold"] < worst["plain"]
    assert worst["baked, rate"] < best["plain"] / 2
    assert abs(best["baked, rate"] - best["baked, FSR"]) < 15


def test_a_volume_that_is_bigger_than_it_need_be_waits_longer_for_its_rate() -> None:
    small = model_start("baked, rate", Sizes(), best=True)
    big = model_start("baked, rate", Sizes(snapshot_gib=200), best=True)
    assert big.stages["reads"] > small.stages["reads"]


def test_the_command_prints_all_four_ways_each_source_and_what_was_measured(
    tmp_path: Path,
) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(MEASURED))
    told = CliRunner().invoke(main, ["--measured", str(file)])
    assert told.exit_code == 0, told.output
    for text in (*VARIANTS, *(figure.source for figure in FIGURES.values())):
        assert text in told.output
    (plain,) = [line for line in told.output.splitlines() if line.endswith("pulled")]
    assert plain.split() == ["plain", "20.0", "10.0", "40.0", "-", "1.5", "71.5", "pulled"]
    assert "FAILED: no machine" in told.output


def test_the_same_as_one_document() -> None:
    told = CliRunner().invoke(main, ["--json", "--image-gb", "1"])
    found = json.loads(told.output)
    assert [row["variant"] for row in found["model"]] == list(VARIANTS)
    assert found["figures"]["boot"]["source"]
