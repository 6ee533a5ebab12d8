"""The report's page in a real browser: drawn at every width, in light and dark, read aloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ami_provider.errors import BakeError
from ami_provider.report_page.facts import Ami, Ancestor, Cost, Part, Report, Stage
from ami_provider.report_page.page import render
from ami_provider.report_page.starts import read_starts
from batch.start_model import main as start_model
from toolchain.browser import Browser, Screen, Tab, open_browser

WHEN = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
AMI = Ami(
    id="ami-07f0229d4436ae3a0", name="baked-ami-gpu-455024739d3294d8", region="ap-northeast-2",
    state="available", created=WHEN, fingerprint="45" * 32, lineage="shop/dev/gpu",
    is_verified=True, verified="verified", snapshot_ids=("snap-0a1b2c3d4e5f60718",),
    volume_gib=30, bytes=25_300_000_000,
)  # fmt: skip
SCREENS = [Screen(width=w, dark=dark) for w in (390, 1280) for dark in (False, True)]


def create_report(starts_file: Path, **changes: Any) -> Report:
    """Every part of the page, with names that are as long as they get."""
    told = CliRunner().invoke(start_model, ["--json"]).stdout
    times = {"submitted": 50.0, "machine_up": 52.0, "agent_up": 53.5}
    jobs = {
        "plain": {"image": "pulled", "times": {**times, "image_ready": 64.0, "started": 64.5}},
        "baked": {"image": "cached", "times": {**times, "image_ready": 53.5, "started": 54.0}},
    }
    starts_file.write_text(
        json.dumps({**json.loads(told), "measured": {"jobs": jobs, "where": "here"}})
    )
    stages = [("launch a builder", 41.0), ("update the system", 96.0), ("log in", 0.4),
              ("pull the images and fetch the models", 312.0), ("create the AMI", 208.0),
              (f"run the extra step {'very-' * 8}long", 33.0)]  # fmt: skip
    ancestors = [
        Ancestor(
            id=AMI.id[:-1] + str(n), name=AMI.name, created=WHEN - timedelta(days=n),
            state="available", verified="verified", users=("compute environment gpu",) * (n == 0),
            bytes=AMI.bytes, storage_month=1.18, bake_seconds=690.0 + n,
            changes=(f"image batch-processor:latest: digest sha256:{'6d' * 6}… -> sha256:…",),
        )
        for n in range(3)
    ]  # fmt: skip
    given: dict[str, Any] = {
        "ami": AMI,
        "made": WHEN,
        "stages": tuple(Stage(*stage) for stage in stages),
        "parts": (
            Part("base system", "base", 15_850_000_000),
            Part("batch-processor", "container image", 8_000_000_000, f"sha256:{'41' * 32}"),
            Part("a.safetensors", "model", 1_450_000_000, "/opt/ml/models/a.safetensors"),
        ),
        "cost": Cost(
            bake=0.09, storage_month=1.18, month=1.27, saving_job=0.093, break_even_jobs=14,
            basis=("a bake: 11 min of g5.xlarge spot",),
        ),
        "starts": read_starts(starts_file),
        "lineage": tuple(ancestors),
        "manifest": {"images": [{"digest": "sha256:" + "41" * 32}], "update": {"enabled": True}},
    }  # fmt: skip
    return Report(**given | changes)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Tab:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    path.write_text(render(create_report(folder / "starts.json")))
    tab = browser.open_tab()
    tab.open(path)
    return tab


DRAWN = """[...document.querySelectorAll("svg.bar rect, svg.plot line, svg.plot polygon")]
.map(e => [e.getBoundingClientRect(), e.closest("svg").getBoundingClientRect(), e])
.map(([b, s, e]) => ({
  inside: b.left >= s.left - 2 && b.right <= Math.min(s.right, innerWidth) + 2,
  seen: Math.max(b.width, b.height) >= 1.5 &&
    !["none", "rgba(0, 0, 0, 0)"].includes(getComputedStyle(e)[e.tagName == "line" ? "stroke" : "fill"]),
}))"""  # noqa: E501
CHARTS = """[...document.querySelectorAll("table.chart tbody tr")].map(r =>
  [r.querySelector("th").innerText.split("\\n")[0].trim(),
   [...r.querySelectorAll("rect")].reduce((all, e) => all + e.getBoundingClientRect().width, 0)])"""


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_it_fits_and_its_charts_are_drawn(page: Tab, screen: Screen, tmp_path: Path) -> None:
    page.set_screen(screen)
    for is_open in ("false", "true"):
        page.evaluate(f"document.querySelectorAll('details').forEach(d => d.open = {is_open})")
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide == [screen.width, screen.width]

    drawn = page.evaluate(DRAWN)
    assert len(drawn) > 40
    assert [one for one in drawn if not (one["inside"] and one["seen"])] == []
    picture = page.take_picture(down_to=page.evaluate("document.documentElement.scrollHeight"))
    (tmp_path / "report.png").write_bytes(picture)  # for whoever wants to look
    assert int.from_bytes(picture[16:20]) == screen.width
    lengths = dict(page.evaluate(CHARTS))
    pull, launch = lengths["pull the images and fetch the models"], lengths["launch a builder"]
    assert pull / launch == pytest.approx(312 / 41, rel=0.02)
    assert lengths["base system"] / lengths["batch-processor"] == pytest.approx(1.981, rel=0.02)


def test_it_asks_for_nothing_and_complains_of_nothing(page: Tab) -> None:
    assert [url.partition(":")[0] for url in page.requests] == ["file"]
    assert page.complaints == []


def test_it_says_whose_and_for_what_the_starts_are(page: Tab) -> None:
    titles = page.evaluate("[...document.querySelectorAll('h3')].map(e => e.innerText)")
    model = "On AWS, modelled from published figures for 17 GB of image and 1.85 GB of models"
    assert titles == ["Measured here", model]
    tile = page.evaluate("document.querySelector('#start').parentElement.innerText").split("\n")
    assert tile == ["A job starts in", "4.0 s", "in place of 14.5 s, measured here"]
    sources = page.evaluate("document.querySelector('#starts').parentElement.textContent")
    assert "starts.json: seconds from SubmitJob to the container's start" in sources
    assert "Slacker, FAST 2016" in sources


CONTRAST = """(() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3]) return c; } return [255, 255, 255]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + .05) / (y + .05); };
  const texts = [...document.querySelectorAll("body *")].filter(e => !["TITLE", "STYLE"].includes(
    e.tagName.toUpperCase()) && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
  const marks = [...document.querySelectorAll("svg.bar rect, line.costs, line.saves")];
  return [texts.map(e => [ratio(parse(getComputedStyle(e)[e instanceof SVGElement ? "fill" : "color"]),
      behind(e)), e.textContent.trim()]),
    marks.map(e => [ratio(parse(getComputedStyle(e)[e.tagName == "rect" ? "fill" : "stroke"]),
      behind(e.closest("svg").parentElement)), e.className.baseVal])];
})()"""  # noqa: E501


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_charts_stand_out_as_wcag_asks(page: Tab, dark: bool) -> None:
    page.set_screen(Screen(width=1280, dark=dark))
    texts, marks = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert len(marks) > 30
    assert [one for one in texts if one[0] < 4.5] == []
    assert [one for one in marks if one[0] < 3] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_screen_reader_gets_landmarks_headings_and_tables(page: Tab, width: int) -> None:
    page.set_screen(Screen(width=width))
    heard = page.read_aloud()
    roles = [role for role, _ in heard]
    assert [roles.count(role) for role in ("banner", "main", "contentinfo")] == [1, 1, 1]
    headings = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(e => [+e.tagName[1], e.innerText])"
    )
    levels = [level for level, _ in headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    regions = [name for role, name in heard if role == "region"]
    for title in ("How the bake went", "What is in it", "How long a job takes to start",
                  "Its lineage", "What it costs, and from when it pays", "What it is"):  # fmt: skip
        assert title in regions
    # Each chart is a table, or a picture with a name that a table describes.
    tables = [name for role, name in heard if role == "table"]
    assert "Stages of the bake in their order, with seconds and share" in tables
    assert ("rowheader", "pull the images and fetch the models") in heard
    assert ("cell", "5 min 12 s") in heard
    (picture,) = [name for role, name in heard if role in ("image", "img")]
    assert "worth it from 14 jobs on" in picture
    (described,) = [
        node["description"]["value"]
        for node in page.call("Accessibility.getFullAXTree")["nodes"]
        if node.get("name", {}).get("value") == picture
    ]
    assert described == (
        "A bake is $0.090, storage $1.18 a month; a job that starts on this AMI saves $0.093."
    )
    assert page.evaluate("document.querySelector('#break-even-table').rows.length") == 5
    assert page.evaluate("document.documentElement.lang") == "en"


def test_what_is_not_known_is_said_and_names_are_only_text(
    browser: Browser, tmp_path: Path
) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    report = Report(
        ami=AMI,
        made=WHEN,
        stages=(Stage(bad, 0.0),),
        manifest={bad: bad},
        unknown={"cost": "no price of it is known.", "parts": "EC2 does not say."},
    )
    (tmp_path / "report.html").write_text(render(report))
    tab = browser.open_tab()
    tab.open(tmp_path / "report.html")
    text = tab.evaluate("document.body.innerText")
    assert "Not known: no price of it is known." in text
    assert "Not known: EC2 does not say." in text
    assert "Not known: nothing tells it." in text
    assert text.count(bad) == 3
    assert tab.evaluate("document.querySelectorAll('script, img').length") == 0
    assert [url.partition(":")[0] for url in tab.requests] == ["file"]
    assert tab.complaints == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": [{"variant": "plain"}]}'])
def test_a_file_without_starts_is_refused_with_how_to_write_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "starts.json").write_text(text)
    with pytest.raises(BakeError) as refused:
        read_starts(tmp_path / "starts.json")
    assert "starts.json does not tell of jobs' starts" in refused.value.brief
    assert "python -m batch.start_model --json" in refused.value.resolution
