"""`python -m docs`: writes `settings.md` and `troubleshooting.md` anew; a test keeps them so."""

from __future__ import annotations

from pathlib import Path

from docs import settings_page, troubleshooting_page

HERE = Path(__file__).resolve().parent

PAGES = {"settings.md": settings_page.render, "troubleshooting.md": troubleshooting_page.render}


def main() -> None:
    """Write each page as the code has it now."""
    for name, render in PAGES.items():
        (HERE / name).write_text(render(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
