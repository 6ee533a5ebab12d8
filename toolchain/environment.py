"""The virtual environment in `.venv`: the locked requirements, with Pulumi beside Python."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.process import run
from toolchain.pulumi_cli import EXECUTABLES, PulumiCli
from toolchain.report import Progress, in_words, say

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
REQUIREMENTS = CHECKOUT / "requirements-dev.txt"
STAMP_NAME = ".made-from"

SECONDS_A_PACKAGE = 0.4
"""55 s for 132 packages on 2 cores, with an empty cache; most of it is unpacking."""


def ensure_venv(*, venv: Path = VENV, requirements: Path = REQUIREMENTS) -> None:
    """Make or update `venv` so that it has what `requirements` names; at once when it has already.

    The stamp is written last: an interrupted installation is taken up again by the next call.
    """
    wanted = _stamp(requirements)
    stamp = venv / STAMP_NAME
    if _reads(stamp) == wanted and _runs(venv):
        return
    if not _runs(venv):
        _create(venv)
    stamp.unlink(missing_ok=True)
    _install(venv, requirements)
    stamp.write_text(wanted, encoding="utf-8")


def link_cli(cli: PulumiCli, *, venv: Path = VENV) -> None:
    """Put a CLI that was built into `venv`'s bin, so that an activated environment finds it.

    An installed one is on PATH already; links to a built one that are left over go away then.
    """
    for name in EXECUTABLES:
        link = venv / "bin" / name
        wanted = cli.folder / name if cli.built else None
        if link.is_symlink():
            if wanted is not None and link.readlink() == wanted:
                continue
            link.unlink()
        if wanted is not None and not link.exists():
            link.symlink_to(wanted)


def _create(venv: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"This Python ({sys.executable}) cannot make virtual environments: no ensurepip.",
            resolution="on Debian and Ubuntu, `apt-get install python3-venv`; or name another "
            "Python 3.11, as in `make setup PYTHON=/path/to/python3.11`",
        )
    say(f"Making a virtual environment in {venv.name} with Python {sys.version.split()[0]}.")
    base = Path(sys.executable).resolve()  # not the one in `venv`, should that be what runs this
    run([str(base), "-m", "venv", "--clear", str(venv)], doing=f"Making {venv.name}")


def _install(venv: Path, requirements: Path) -> None:
    packages = requirements.read_text(encoding="utf-8").count("==")
    expected = f"about {in_words(packages * SECONDS_A_PACKAGE)} when all are new"
    say(f"Installing {packages} Python packages of {requirements.name}, {expected}.")
    progress = Progress()
    collected = 0

    def on_line(line: str) -> bool:
        nonlocal collected
        if line.startswith("Collecting "):
            collected += 1
            progress.show(f"Python packages: {collected} of {packages} collected")
        elif line.startswith("Installing collected packages"):
            say(f"  unpacking them all ({progress.elapsed():.0f} s)")
        return line.startswith((" ", "Collecting", "Installing", "Requirement already satisfied"))

    run(
        [str(venv / "bin" / "python"), *_PIP_INSTALL, str(requirements)],
        doing="Installing the Python packages",
        on_line=on_line,
        resolution=_way_out,
    )
    say(f"Installed the Python packages in {in_words(progress.elapsed())}.")


_PIP_INSTALL = (
    *("-m", "pip", "install", "--progress-bar", "off"),
    *("--disable-pip-version-check", "--require-hashes", "-r"),
)


def _way_out(last_lines: str) -> str:
    text = last_lines.lower()
    if "no space left" in text:
        return f"free about 1.5 GB of disk for {VENV.name} and run the same command again"
    if "do not match the hashes" in text:
        return (
            "a download is not what requirements-dev.txt pins: see `pip config list` for its origin"
        )
    return "check the network and `pip config list`, then run the same command again"


def _stamp(requirements: Path) -> str:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    return (
        f"python {sys.version_info.major}.{sys.version_info.minor}, {requirements.name} {digest}\n"
    )


def _reads(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _runs(venv: Path) -> bool:
    """Whether `venv` has a Python of this version that starts and knows pip."""
    python = venv / "bin" / "python"
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    asked = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    if shutil.which(str(python)) is None:
        return False
    answer = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == ours
