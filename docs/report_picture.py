"""`python -m docs.report_picture`: bakes on the local cloud's machines and pictures the report.

Two AMIs of one lineage under the latencies that others have measured on AWS, a job on the plain
and on the baked AMI, `python -m ami_provider report`, and the page as Chromium shows it, in
`docs/report.png`. About 10 minutes; needs root on Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ami_provider.aws import Aws
from ami_provider.bake import bake
from ami_provider.contents import ContainerImage, Model
from ami_provider.recipe import ExtraStep, ImageRecipe
from ami_provider.resolve import resolve
from ami_provider.site import BuildSite, Lineage
from benchmarks import demo_job
from toolchain.browser import Screen, Tab, open_browser

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "report.png"
LARGEST = 300_000
"""Bytes of the picture, at most: it then ends after an earlier section of the page."""
SCREEN = Screen(width=1280)
SECTIONS = ("facts", "lineage", "starts", "cost", "timeline")
LINEAGE = Lineage(project="baked-ami", stack="local", name="gpu", urn="urn:report-picture")
SIZES = {"LOCAL_CLOUD_IMAGE_MB": "256", "LOCAL_CLOUD_MODELS_MB": "64"}


def main() -> int:
    """Start a local cloud around this where there is none; 0 when the picture is there."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, "-m", "docs.report_picture"]
        run = [sys.executable, "-m", "local_cloud", "run", "--latency", "aws", "--", *own]
        return subprocess.run(run, cwd=ROOT, env=os.environ | SIZES, check=False).returncode
    if not demo_job.ask("health")["real"]:
        sys.stderr.write("error: a picture of a real bake needs machines that run: root on Linux\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="report-picture-") as folder:
        take_picture(write_report(Path(folder)))
    return 0


def write_report(folder: Path) -> Path:
    """Bake, start the jobs, and have the report written; the page's path."""
    aws = Aws(os.environ["AWS_REGION"])
    profile, network = demo_job.create_profile(), demo_job.find_network(aws)
    account = aws.sts.get_caller_identity()["Account"]
    registry = f"{account}.dkr.ecr.{aws.region}.amazonaws.com"
    step = ExtraStep(
        name="warm-the-cache", script="find /opt/ml/models -type f | xargs cat >/dev/null"
    )
    base_ami = baked = uri = ""
    for extra in ((), (step,)):
        recipe = resolve(
            ImageRecipe(
                images=(ContainerImage(repository=f"{registry}/batch-processor", tag="latest"),),
                models=(
                    Model(source="s3://local-ml-models/models/", destination="/opt/ml/models/"),
                ),
                extra_steps=extra,
            ),
            aws,
        ).recipe
        assert recipe is not None
        site = BuildSite(
            region=aws.region,
            subnet_ids=(network[0],),
            security_group_ids=(network[1],),
            instance_profile=profile,
        )
        made = bake(recipe, site, LINEAGE, aws=aws, report=_say, keep=1)
        base_ami, baked, uri = recipe.base.ami_id, made.ami_id, recipe.images[0].uri
    demo = demo_job.Demo(aws, profile, network, uri)
    jobs = {name: demo.run(name, ami) for name, ami in (("plain", base_ami), ("baked", baked))}
    measured, starts = folder / "measured.json", folder / "starts.json"
    measured.write_text(json.dumps({"jobs": jobs, "where": demo_job.WHERE}))
    _run("batch.start_model", "--json", "--measured", str(measured), to=starts)
    page = folder / "report.html"
    _run("ami_provider", "report", baked, "--out", str(page), "--starts", str(starts))
    return page


def take_picture(page: Path) -> None:
    """The page from its top, as far down as the picture may be large."""
    with open_browser() as browser:
        tab = browser.open_tab()
        tab.set_screen(SCREEN)
        tab.open(page)
        for section in SECTIONS:
            picture = tab.take_picture(down_to=_find_end(tab, section))
            if len(picture) <= LARGEST:
                break
    PICTURE.write_bytes(picture)
    _say(f"{PICTURE.relative_to(ROOT)}: {len(picture) // 1000} kB, down to `{section}`")


def _find_end(tab: Tab, section: str) -> float:
    box = f"document.getElementById('{section}').closest('section').getBoundingClientRect()"
    return float(tab.evaluate(f"{box}.bottom + scrollY + 16"))


def _run(module: str, *arguments: str, to: Path | None = None) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE if to else None)
    if to:
        to.write_bytes(done.stdout)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
