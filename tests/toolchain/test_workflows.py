"""What the GitHub workflows may do: when, with which rights, one at a time, and nothing stored."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.toolchain.conftest import CHECKOUT
from toolchain import pulumi_cli
from toolchain.workflow_lint import ensure_actionlint

GITHUB = CHECKOUT / ".github"
FILES = sorted(GITHUB.rglob("*.yml"))
PINNED = re.compile(r"^(\s*-? uses: \S+)@[0-9a-f]{40} # (v\d+)[\d.]*$", re.MULTILINE)


def read(name: str) -> dict[str, Any]:
    """A workflow, every value as text (a plain YAML reader takes the key `on` for true)."""
    text = (GITHUB / "workflows" / f"{name}.yml").read_text()
    found: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return found


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ensure_actionlint()), "-no-color", "-shellcheck="],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_actionlint_finds_nothing_also_in_what_is_given_to_the_actions(tmp_path: Path) -> None:
    """It knows an action's inputs by its tag only, so the copy has tags where we have commits."""
    assert lint(CHECKOUT).returncode == 0, lint(CHECKOUT).stdout
    (tmp_path / ".git").mkdir()
    shutil.copytree(GITHUB, tmp_path / ".github")
    for file in tmp_path.glob(".github/workflows/*.yml"):
        file.write_text(PINNED.sub(r"\1@\2", file.read_text()))
    assert lint(tmp_path).returncode == 0, lint(tmp_path).stdout

    preview = tmp_path / ".github/workflows/preview.yml"
    preview.write_text(preview.read_text().replace("comment-on-pr", "comment-on-pull"))
    found = lint(tmp_path)
    assert found.returncode == 1
    assert 'input "comment-on-pull" is not defined' in found.stdout


def test_each_starts_when_it_should() -> None:
    starts = {file.stem: set(read(file.stem)["on"]) for file in GITHUB.glob("workflows/*")}
    assert starts == {
        "preview": {"pull_request"},
        "dev": {"push", "schedule"},
        "prod": {"workflow_dispatch"},
        "up": {"workflow_call"},
    }
    assert read("dev")["on"]["push"]["branches"] == ["main"]
    (weekly,) = read("dev")["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* 1", weekly["cron"])
    assert read("dev")["jobs"]["up"]["with"]["newer-base"] == (
        "${{ github.event_name == 'schedule' }}"
    )


@pytest.mark.parametrize(("name", "event"), [("preview", "pull_request"), ("dev", "push")])
def test_whatever_the_program_is_made_of_starts_them(name: str, event: str) -> None:
    program = ast.parse((CHECKOUT / "__main__.py").read_text())
    imported = {n.module.split(".")[0] for n in ast.walk(program)
                if isinstance(n, ast.ImportFrom) and n.module}  # fmt: skip
    rooms = {f"{room}/**" for room in imported if (CHECKOUT / room).is_dir()}
    assert len(rooms) == 3
    besides = {"__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "requirements.txt"}
    paths = set(read(name)["on"][event]["paths"])
    assert paths >= rooms | besides
    assert all(p.startswith(".github/") for p in paths - rooms - besides)


def test_no_job_may_do_more_than_it_needs() -> None:
    sign_in = {"contents": "read", "id-token": "write"}
    for name in ("preview", "dev", "prod", "up"):
        workflow = read(name)
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            comments = {"pull-requests": "write"} if name == "preview" else {}
            assert job["permissions"] == sign_in | comments
    fork = "github.event.pull_request.head.repo.full_name == github.repository"
    assert read("preview")["jobs"]["preview"]["if"] == fork


def test_nothing_is_stored_but_the_names_of_roles_and_places() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    assert "secrets" not in text
    assert "access-key" not in text
    assert set(re.findall(r"\bvars\.(\w+)", text)) == {
        "AWS_ROLE_ARN", "AWS_PREVIEW_ROLE_ARN", "AWS_REGION", "PULUMI_BACKEND_URL",
    }  # fmt: skip


def test_every_action_is_pinned_to_a_commit() -> None:
    for file in FILES:
        for line in re.findall(r"^.*\buses:.*$", file.read_text(), re.MULTILINE):
            assert PINNED.match(line) or "uses: ./.github/" in line, f"{file.name}: {line}"


def test_one_update_of_a_stack_at_a_time_with_the_rights_of_its_environment() -> None:
    job = read("up")["jobs"]["up"]
    assert job["concurrency"] == {
        "group": "stack-${{ inputs.stack }}",
        "cancel-in-progress": "false",
    }
    assert job["environment"] == "${{ inputs.stack }}"
    callers = {name: read(name)["jobs"]["up"] for name in ("dev", "prod")}
    assert {job["uses"] for job in callers.values()} == {"./.github/workflows/up.yml"}
    assert {name: job["with"]["stack"] for name, job in callers.items()} == {
        "dev": "dev",
        "prod": "prod",
    }
    updates = [f.stem for f in GITHUB.glob("workflows/*") if "run: pulumi up" in f.read_text()]
    assert updates == ["up"]


def test_prod_shows_its_preview_before_it_asks_for_approval_and_only_on_main() -> None:
    jobs = read("prod")["jobs"]
    assert jobs["up"]["needs"] == "preview"
    assert jobs["preview"]["if"] == "github.ref == 'refs/heads/main'"
    (preview,) = [s["with"] for s in jobs["preview"]["steps"] if "command" in s.get("with", {})]
    assert (preview["command"], preview["stack-name"]) == ("preview", "prod")
    assert preview["comment-on-summary"] == "true"


def test_manifest_and_report_are_kept() -> None:
    steps = read("up")["jobs"]["up"]["steps"]
    (kept,) = [s["with"] for s in steps if "upload-artifact" in s.get("uses", "")]
    assert set(kept["path"].split()) == {"manifest.json", "report.html"}


def test_the_cli_is_the_one_that_the_toolchain_builds() -> None:
    setup = yaml.safe_load((GITHUB / "actions/setup/action.yml").read_text())
    (cli,) = [s["with"] for s in setup["runs"]["steps"] if "pulumi/actions" in s.get("uses", "")]
    assert cli == {"pulumi-version": pulumi_cli.VERSION}
