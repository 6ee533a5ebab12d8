"""The Debian packages that real machines and the tests need: named first, then installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolchain.environment import CHECKOUT
from toolchain.errors import SetupError
from toolchain.process import run
from toolchain.report import say

LIST = CHECKOUT / "local_cloud" / "machines" / "debian-packages.txt"
"""One package a line, kept by the room that uses them; `#` begins a comment."""

SWITCH = "BAKED_AMI_DEBIAN_PACKAGES"
"""Set to `no`, nothing is ever installed on the system."""

RECORDED = "the local cloud's machines are then only recorded, nothing runs on them"

BROWSER_LIST = CHECKOUT / "tests" / "debian-packages.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Commands that a Chromium goes by; the first on PATH is taken."""
NO_BROWSER = "the tests that look at a report in a browser then fail; nothing else needs one"


def ensure_browser() -> None:
    """As `ensure_packages`, for the browser that tests open a report in; any Chromium will do."""
    if find_chromium() is None:
        ensure_packages(listed_in=BROWSER_LIST, lost=NO_BROWSER)


def ensure_packages(*, listed_in: Path = LIST, lost: str = RECORDED) -> None:
    """Install what is missing, as root on Debian; anywhere else say what will be `lost`.

    Never fails: without these packages the local cloud still works, with machines that are only
    recorded. Asks nothing and changes nothing when everything is there.
    """
    wanted = read_list(listed_in)
    if not wanted or shutil.which("dpkg-query") is None:
        if wanted:
            say(f"This is not a Debian system: {lost}.")
        return
    missing = find_missing(wanted)
    if not missing:
        return
    names = " ".join(missing)
    if os.environ.get(SWITCH, "").lower() in {"no", "0", "false"}:
        say(f"Not installed, as {SWITCH} says: {names}; {lost}.")
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"Missing: {names}; {lost}.")
        say(f"  To have them: run `apt-get install --no-install-recommends {names}` as root.")
        return
    say(f"Installing Debian packages: {names} ({SWITCH}=no forbids it).")
    try:
        _install(missing)
    except SetupError as error:
        say(f"{error}\n  Going on without: {lost}.")


def find_chromium() -> str | None:
    """The path of the Chromium that is on PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def read_list(path: Path) -> list[str]:
    """The packages named in `path`, in order; none when there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def find_missing(names: Sequence[str]) -> list[str]:
    """Those of `names` that are not fully installed, asked in one go."""
    answer = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,  # it is 1 when one of them is unknown; the others are listed all the same
    )
    installed = {
        line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in names if name not in installed]


def _install(names: Sequence[str]) -> None:
    """Install from the package lists there are; fetch new lists only when those will not do."""
    try:
        _apt_get("install", "--yes", "--no-install-recommends", *names)
    except SetupError:
        say("  fetching new package lists first (apt-get update)")
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *names)


def _apt_get(*arguments: str) -> None:
    run(
        ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *arguments],
        doing=f"apt-get {arguments[0]}",
        env=dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        resolution=lambda _: "see what apt-get says above, then run the same command again",
    )
