"""The pages: those made from the code are as it is now, and every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

from ami_provider.cli import main
from ami_provider.failures import FAILURES
from docs.__main__ import HERE, PAGES
from settings import Settings
from settings.model import SECTIONS

ROOT = HERE.parent
MODELS: list[type[BaseModel]] = [Settings, *SECTIONS.values()]
WRITTEN = [ROOT / "README.md", *sorted(HERE.glob("*.md"))]


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_made_from_the_code_says_what_the_code_says(name: str) -> None:
    assert (HERE / name).read_text() == PAGES[name](), "out of date: run `make docs`"


def test_every_setting_is_explained_with_what_it_takes() -> None:
    for model in MODELS:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
    rows = re.findall(r"^\| `\S+` \|.*$", (HERE / "settings.md").read_text(), re.MULTILINE)
    assert len(rows) == sum(len(model.model_fields) for model in MODELS)
    assert all(re.match(r"\| `\S+` \| \S.* \| \S.* \| .*\|$", row) for row in rows)
    assert "| `pull` | The pull of the images. | 1-1440 | 60 |" in rows


def test_every_known_failure_and_many_errors_are_there() -> None:
    page = (HERE / "troubleshooting.md").read_text()
    for failure in FAILURES:
        assert f"| `{failure.kind}` | {failure.cause} | {failure.remedy} |" in page
    assert "| there is no bucket BUCKET. Correct its name or create it. |" in page
    assert re.search(
        r"^\| no capacity for the ROLE: .* \| Add machine types or", page, re.MULTILINE
    )
    assert page.count("\n| ") > 100


def links() -> Iterator[tuple[Path, str]]:
    for page in WRITTEN:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not target.startswith("https://"):
                yield page, target


def heading_marks(page: Path) -> set[str]:
    """The marks that headings can be linked by, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_to_a_file_and_heading_that_are_there() -> None:
    found = list(links())
    assert found
    for page, target in found:
        path, _, mark = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert not mark or mark in heading_marks(there), f"{page.name}: {target}"


def test_every_command_that_is_named_in_passing_is_there() -> None:
    """Those in blocks are run (`test_commands.py`); these are looked up."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = []
    for page in (*WRITTEN, *ROOT.glob("*/README.md"), ROOT / "CONTRIBUTING.md"):
        for code in re.findall(r"`([^`\n]+)`", page.read_text()):
            words = code.removeprefix(".venv/bin/").split()
            match words:
                case ["make", str(target), *_] if target.islower():
                    found.append(code)
                    assert target in targets, f"{page.name}: {code}"
                case ["python", "-m", "ami_provider", str(command), *options]:
                    found.append(code)
                    assert command in main.commands, f"{page.name}: {code}"
                    known = {o for p in main.commands[command].params for o in p.opts} | {"--help"}
                    assert {o for o in options if o.startswith("--")} <= known, (
                        f"{page.name}: {code}"
                    )
                case ["python", "-m", str(module), *_]:
                    found.append(code)
                    assert find_spec(module), f"{page.name}: {code}"
    assert len(found) > 20
