"""Every command of the README, of docs/ and of the workflows' update, run from top to bottom.

A stack's life as the pages tell it: on a copy of this checkout, the real engine, the local cloud.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.program.changes import push_another_image
from tests.program.conftest import ROOT, LocalCloud, open_cloud

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("docs")]

NOT_RUN = {
    "make test": "it is what runs this test",
    'pulumi login "s3://': "needs a bucket of an account of one's own",
    "pulumi stack init prod --secrets-provider": "needs a KMS key of such an account",
    "./build-ami.ps1": "no package that can be had here has a PowerShell",
}
"""How a command begins that is not run here, and why."""

PAGES = ("README.md", "docs/settings.md", "docs/from-packer.md", "up.yml",
         "docs/operations.md", "docs/security.md", "docs/ci.md")  # fmt: skip
"""In the order in which a reader would come to them; the update of the workflows among them."""

VALUES = {
    "REPLACE-ACCOUNT": "123456789012",
    "REPLACE-BUCKET": "local-ml-models",
    "subnet-REPLACE-ZONE-A": "subnet-0a10ca10000000001",
    "subnet-REPLACE-ZONE-C": "subnet-0a10ca10000000003",
    "subnet-REPLACE": "subnet-0a10ca10000000001",
    "sg-REPLACE": "sg-0a10ca1000000000f",
}
"""What a reader puts where the settings files say REPLACE; the digest comes with the promotion."""


QUIET = {"PULUMI_SKIP_CONFIRMATIONS": "true", "LOCAL_CLOUD_RECORDED": "true"}
"""Nobody is there to say yes; and that steps work on real machines, other tests show."""


@dataclass(frozen=True)
class Block:
    """Commands that stand together on a page; a shell runs them as one."""

    page: str
    line: int
    language: str
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^```(sh|powershell)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        lines = [re.sub(r"\s+#.*$", "", line) for line in found[2].splitlines()]
        line = text[: found.start()].count("\n") + 2
        name = str(page.relative_to(ROOT))
        yield Block(name, line, found[1], tuple(line for line in lines if line))


def read_update() -> Block:
    """What `up.yml` runs, for the stack `dev`."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/up.yml").read_text())
    runs = [step["run"] for step in workflow["jobs"]["up"]["steps"] if "run" in step]
    return Block("up.yml", 0, "sh", ("export STACK=dev", *runs))


def list_story() -> list[Block]:
    told = []
    for page in PAGES:
        told += [read_update()] if page == "up.yml" else list(read_blocks(ROOT / page))
    return told


STORY = list_story()


@dataclass
class Life:
    """A reader's copy of the checkout, and the account that the commands reach."""

    copy: Path
    cloud: LocalCloud

    def run(self, script: str) -> str:
        """Run it in the copy as a reader would; everything that was said. Fails as it does."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.copy, check=False, text=True,
            env=self.cloud.environment | QUIET,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def output(self, name: str, stack: str) -> Any:
        return json.loads(self.run(f"pulumi stack output {name} --json --stack {stack}"))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    copy = tmp_path_factory.mktemp("checkout") / "baked-ami"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")[:-1]  # fmt: skip
    for name in listed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for stack in ("dev", "prod"):
        settings = copy / f"Pulumi.{stack}.yaml"
        text = settings.read_text()
        for placeholder, value in VALUES.items():
            text = text.replace(placeholder, value)
        settings.write_text(text)
    with open_cloud("--recorded") as cloud:
        yield Life(copy, cloud)


def push(life: Life) -> None:
    push_another_image(life.cloud.client("ecr"), "batch-processor", "latest")


BEFORE: dict[str, Callable[[Life], None]] = {"pulumi preview --stack dev": push}
"""What happens in the world before the block that begins so."""


def is_prods_own(life: Life, _: str) -> None:
    assert life.output("amiId", "prod") == life.output("amiId", "dev")
    assert life.output("manifest", "prod") == life.output("manifest", "dev")


def is_back(life: Life, _: str) -> None:
    """On the image before the last, which is the seed's; `prod` stays on the last."""
    digests = [life.output("manifest", stack)["images"][0]["digest"] for stack in ("dev", "prod")]
    images = life.cloud.client("ecr").describe_images(repositoryName="batch-processor")
    pushed = sorted(images["imageDetails"], key=lambda image: image["imagePushedAt"])
    assert digests == [image["imageDigest"] for image in pushed[-2:]]


def are_written(life: Life, _: str) -> None:
    ami_id = life.output("amiId", "dev")
    kept = json.loads((life.copy / "manifest.json").read_text())
    assert [build["artifact_id"] for build in kept["builds"]] == [f"ap-northeast-2:{ami_id}"]
    assert ami_id in (life.copy / "report.html").read_text()
    for name in ("manifest.json", "report.html"):
        (life.copy / name).unlink()


def only_prod_is_left(life: Life, _: str) -> None:
    (image,) = life.cloud.inventory()["image"]
    assert image["id"] == life.output("amiId", "prod")


def says(*words: str) -> Callable[[Life, str], None]:
    def check(_: Life, said: str) -> None:
        assert [word for word in words if word not in said] == []

    return check


AFTER: dict[str, Callable[[Life, str], None]] = {
    "make up": says("step 1 of 8: launch a builder", "+ 18 created", "jobDefinitionArn"),
    "python -m settings check --stack dev": says("can be used"),
    "aws batch submit-job": says("jobId"),
    "pulumi stack output amiId": are_written,
    "export STACK=dev": are_written,
    "pulumi preview --stack dev": says("the AMI is replaced, because its content changes:"),
    "pulumi stack init prod": is_prods_own,
    "old=$(aws ecr": is_back,
    "python -m ami_provider list": says("baked-ami/dev/gpu", "current", "ok  "),
    "python -m ami_provider prune": says("stays", "Nothing of bakes that is older than 6 h"),
    "python -m ami_provider report": are_written,
    "pulumi destroy --stack dev": only_prod_is_left,
}
"""What holds after the block that begins so, beside that every command ended well."""


def get_for(block: Block, table: dict[str, Any], default: Any) -> Any:
    return next((act for start, act in table.items() if block.commands[0].startswith(start)),
                default)  # fmt: skip


def is_run(command: str) -> bool:
    return not any(command.startswith(start) for start in NOT_RUN)


def test_no_page_with_commands_is_forgotten() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    assert {b.page for page in pages for b in read_blocks(page)} == {*PAGES} - {"up.yml"}
    starts = {command for block in STORY for command in block.commands if not is_run(command)}
    assert len(starts) <= len(NOT_RUN) + 1
    for start in (*NOT_RUN, *BEFORE, *AFTER):
        assert any(c.startswith(start) for block in STORY for c in block.commands), start


@pytest.mark.parametrize("block", [b for b in STORY if any(map(is_run, b.commands))], ids=str)
def test_the_commands_of_the_pages_work_in_their_order(block: Block, life: Life) -> None:
    get_for(block, BEFORE, lambda _: None)(life)
    script = "\n".join(command for command in block.commands if is_run(command))
    said = life.run(script)
    get_for(block, AFTER, lambda *_: None)(life, said)


def test_the_local_stack_goes_as_it_came(life: Life) -> None:
    """`make down`, which the README names in passing, after its `make up`."""
    assert "The local cloud's inventory is empty" in life.run("make down")
