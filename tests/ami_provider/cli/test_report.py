"""`python -m ami_provider report`: its numbers are those of AWS's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ami_provider import tags
from ami_provider.report_page.figures import bytes_in_words, dollars_in_words, seconds_in_words
from ami_provider.timings import KEY, read_text
from tests.ami_provider.cli.commands import LINEAGE, Shell, check_example, open_shell
from toolchain.browser import Tab, open_browser


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    with open_shell(monkeypatch, tmp_path) as opened:
        yield opened


def read(tab: Tab, what: str) -> Any:
    return tab.evaluate(f"document.querySelector({what!r}).innerText")


def read_rows(tab: Tab, section: str) -> list[list[str]]:
    """The cells of the first table in a section, a row each, as a reader sees them."""
    return tab.evaluate(  # type: ignore[no-any-return]
        f"[...document.querySelector('#{section}').closest('section').querySelector('tbody').rows]"
        ".map(r => [...r.cells].filter(c => !c.querySelector('svg')).map(c => c.innerText.trim()))"
    )


def test_the_numbers_on_the_page_are_those_of_the_api(shell: Shell, tmp_path: Path) -> None:
    step = {"name": "warm", "script": "true"}
    older = shell.write("older.yaml", keep=1, recipe=shell.with_recipe(extra_steps=[step]))
    before = shell.json("bake", older)["ami_id"]
    baked = shell.json("bake", shell.write(keep=1))["ami_id"]

    done = shell.run("report", LINEAGE, "--manifest", "manifest.json")

    check_example("report", "report shop/ci/gpu --manifest manifest.json", done)
    assert done.exit_code == 0, done.output
    ec2 = shell.bakery.aws.ec2
    image = ec2.describe_images(ImageIds=[baked])["Images"][0]
    disk = image["BlockDeviceMappings"][0]["Ebs"]
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[disk["SnapshotId"]])["Snapshots"]
    held = snapshot["FullSnapshotSizeInBytes"]
    timed = read_text(tags.to_mapping(image["Tags"])[KEY])
    assert timed is not None
    recipe = shell.bakery.resolve()
    history = ec2.describe_spot_price_history(InstanceTypes=["g5.xlarge"])["SpotPriceHistory"]
    spot = max(float(one["SpotPrice"]) for one in history)
    bake = sum(timed.seconds.values()) * spot / 3600
    month = held / 1024**3 * 0.05

    with open_browser() as browser:
        tab = browser.open_tab()
        tab.open(tmp_path / "report.html")
        told = dict(
            tab.evaluate("[...document.querySelectorAll('.facts > div')].map(e => "
                         "[e.children[0].innerText, e.children[1].innerText])")
        )  # fmt: skip
        stages, parts, line = (read_rows(tab, one) for one in ("timeline", "contents", "lineage"))
        assert read(tab, "#size") == bytes_in_words(held)
        assert read(tab, "#storage") == dollars_in_words(month)
        assert read(tab, "#bake-time") == seconds_in_words(sum(timed.seconds.values()))
        text = read(tab, "body")
        assert tab.requests == [(tmp_path / "report.html").resolve().as_uri()]
        assert tab.complaints == []

    assert told["AMI"] == baked
    assert told["Name"] == image["Name"]
    assert told["Fingerprint"] == tags.to_mapping(image["Tags"])[tags.FINGERPRINT]
    assert told["Snapshots"] == disk["SnapshotId"]
    assert told["Root volume"] == f"{disk['VolumeSize']} GiB"
    assert told["images 1 digest"] == recipe.images[0].digest
    assert [row[1] for row in stages] == [seconds_in_words(s) for s in timed.seconds.values()]
    assert stages[0][0] == "launch a builder"
    assert "pull the images and fetch the models" in [row[0] for row in stages]
    by_name = {row[0].split("\n")[0]: row[1] for row in parts}
    assert by_name["batch-processor"] == bytes_in_words(recipe.images[0].size_bytes or 0)
    assert f"{dollars_in_words(bake)} a bake" in text
    assert "not verified" not in text
    assert [row[0].split()[0] for row in line] == [baked, before]
    assert "extra step warm: removed" in line[0][3]
    assert line[0][5] == bytes_in_words(held)

    written = json.loads(Path("manifest.json").read_text())
    assert written["ami"]["bytes"] == held == sum(part["bytes"] for part in written["parts"])
    models = sum(part["bytes"] for part in written["parts"] if part["kind"] == "model")
    noted = sum(model.size_bytes or 0 for model in recipe.models)
    assert models == pytest.approx(noted, rel=1e-3)  # a tag has them to four digits
    assert written["cost"]["bake"] == pytest.approx(bake)
    assert written["cost"]["storage_month"] == pytest.approx(month)
    cost = written["cost"]
    assert (cost["break_even_jobs"] - 1) * cost["saving_job"] < cost["month"]
    assert cost["break_even_jobs"] * cost["saving_job"] >= cost["month"]
    assert written["builds"][-1]["artifact_id"] == f"{shell.bakery.cloud.region}:{baked}"
    assert written["manifest"] == recipe.manifest()
    printed = shell.json("report", baked)
    assert {**printed, "made": ""} == {**written, "made": ""}


def test_what_is_gone_meanwhile_leaves_a_report_that_says_so(shell: Shell) -> None:
    """The image left the registry, the timings are no more: the rest is told all the same."""
    baked = shell.json("bake", shell.write())
    aws = shell.bakery.aws
    aws.ec2.delete_tags(Resources=[baked["ami_id"]], Tags=[{"Key": KEY}])
    digest = shell.bakery.resolve().images[0].digest
    aws.ecr.batch_delete_image(repositoryName="batch-processor", imageIds=[{"imageDigest": digest}])

    done = shell.run("report", baked["ami_id"])

    assert done.exit_code == 0, done.output
    page = Path("report.html").read_text()
    assert "its tags do not have the whole bake" in page
    assert baked["fingerprint"] in page

    failed = shell.run("report", baked["ami_id"], "--out", "none/report.html")
    assert failed.exit_code == 1
    assert "none/report.html could not be written: No such file" in failed.stderr
