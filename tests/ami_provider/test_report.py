"""`python -m ami_provider report`: its numbers are those of AWS's API, and bad input is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ami_provider import tags
from ami_provider.cli import main
from ami_provider.cli import report as command
from ami_provider.report_page.figures import bytes_in_words, dollars_in_words, seconds_in_words
from ami_provider.timings import KEY, read_text
from local_cloud.faults import Fault, Faults
from tests.ami_provider.clouds import Bakery, extra, open_bakery
from toolchain.browser import Tab, open_browser

LINEAGE = "baked-ami/dev/ami"


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        monkeypatch.setattr(command, "get_aws", lambda _region: bakery.aws)
        monkeypatch.chdir(tmp_path)
        yield bakery


def report(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def read(tab: Tab, what: str) -> Any:
    return tab.evaluate(f"document.querySelector({what!r}).innerText")


def read_rows(tab: Tab, section: str) -> list[list[str]]:
    """The cells of the first table in a section, a row each, as a reader sees them."""
    return tab.evaluate(  # type: ignore[no-any-return]
        f"[...document.querySelector('#{section}').closest('section').querySelector('tbody').rows]"
        ".map(r => [...r.cells].filter(c => !c.querySelector('svg')).map(c => c.innerText.trim()))"
    )


def test_the_numbers_on_the_page_are_those_of_the_api(bakery: Bakery, tmp_path: Path) -> None:
    older = bakery.bake(bakery.resolve(extra_steps=extra("warm", "true")), keep=1)
    newer = bakery.bake(keep=1)
    region = bakery.cloud.region

    done = report(newer.ami_id, "--region", region, "--manifest", "manifest.json")

    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"report.html: the report on {newer.ami_id} (")
    ec2 = bakery.aws.ec2
    image = ec2.describe_images(ImageIds=[newer.ami_id])["Images"][0]
    disk = image["BlockDeviceMappings"][0]["Ebs"]
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[disk["SnapshotId"]])["Snapshots"]
    held = snapshot["FullSnapshotSizeInBytes"]
    timed = read_text(tags.to_mapping(image["Tags"])[KEY])
    assert timed is not None
    recipe = bakery.resolve()
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

    assert told["AMI"] == newer.ami_id
    assert told["Name"] == image["Name"]
    assert told["Fingerprint"] == newer.fingerprint
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
    assert [row[0].split()[0] for row in line] == [newer.ami_id, older.ami_id]
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
    assert written["builds"][-1]["artifact_id"] == f"{region}:{newer.ami_id}"
    assert written["manifest"] == recipe.manifest()
    printed = json.loads(report(LINEAGE, "--region", region, "--json").stdout)
    assert {**printed, "made": ""} == {**written, "made": ""}


def test_bad_input_is_told_and_nothing_is_written(bakery: Bakery, tmp_path: Path) -> None:
    region = ["--region", bakery.cloud.region]
    theirs = bakery.resolve().base.ami_id
    for arguments, message in [
        (["ami-00000000000000000", *region], "there is no AMI ami-00000000000000000"),
        (["no", *region], "there is no AMI no in"),
        ([theirs, *region], f"{theirs} is of another account"),
        (["shop/dev/none", *region], "there is no AMI of the lineage shop/dev/none"),
        (["shop/dev/none", "--region", "europe"], "'europe' is not a region"),
        (["shop/dev/none", *region, "--starts", "none.json"], "none.json does not tell"),
    ]:
        refused = report(*arguments)
        assert (refused.exit_code, message in refused.stderr) == (2, True), refused.output
    assert list(tmp_path.iterdir()) == []


def test_an_ami_that_this_project_did_not_bake_is_refused(bakery: Bakery) -> None:
    machine = bakery.aws.ec2.run_instances(
        ImageId=bakery.resolve().base.ami_id, InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    plain = bakery.aws.ec2.create_image(InstanceId=machine, Name="somebody's")["ImageId"]

    refused = report(plain, "--region", bakery.cloud.region)

    assert refused.exit_code == 2
    assert f"{plain} was not baked by this project" in refused.stderr


def test_credentials_that_are_not_good_are_told(bakery: Bakery) -> None:
    bakery.cloud.faults = Faults([Fault(fault="expired-credentials", action="DescribeImages")])
    refused = report(LINEAGE, "--region", bakery.cloud.region)
    assert refused.exit_code == 2
    assert "Sign in again" in refused.stderr


def test_what_is_gone_meanwhile_leaves_a_report_that_says_so(bakery: Bakery) -> None:
    """The image left the registry, the timings are no more: the rest is told all the same."""
    baked = bakery.bake()
    bakery.aws.ec2.delete_tags(Resources=[baked.ami_id], Tags=[{"Key": KEY}])
    digest = bakery.resolve().images[0].digest
    bakery.aws.ecr.batch_delete_image(
        repositoryName="batch-processor", imageIds=[{"imageDigest": digest}]
    )

    done = report(baked.ami_id, "--region", bakery.cloud.region)

    assert done.exit_code == 0, done.output
    page = Path("report.html").read_text()
    assert "its tags do not have the whole bake" in page
    assert baked.fingerprint in page
