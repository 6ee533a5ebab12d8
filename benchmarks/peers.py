"""Gets Packer, the peer of `packer.py`, into the user's cache: Debian's, and a current one built.

Nothing else needs it, and no test. Run it by itself to have it there before a measurement.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolchain.build_cache import cache_root, ensure_built
from toolchain.go_build import go_environment
from toolchain.process import run
from toolchain.report import say

DEBIAN, CURRENT, PLUGIN = "1.6.6", "1.15.0", "1.8.0"
"""Debian 12's package; the newest Packer and amazon plugin whose Go modules can be had."""

MODULES = {
    "packer": (
        f"github.com/hashicorp/packer@v{CURRENT}",
        "h1:5PBKxoRXClaOVLe8g0tqQtZnEWyrbsyUkQOTIxANeTY=",
    ),
    "packer-plugin-amazon": (
        f"github.com/hashicorp/packer-plugin-amazon@v{PLUGIN}",
        "h1:Y30Uu5l65NmcCulNsYxS+FxjEXZtI90HcKwL7yAO1CU=",
    ),
}
"""Module and checksum of its archive. Each is built as it is, by its own go.mod and go.sum."""


@dataclass(frozen=True)
class Packer:
    """One that can be run: its version, the executable, and the folder of its plugins, if any."""

    version: str
    executable: Path
    plugins: Path | None = None


def get_packers(*, current: bool = True) -> list[Packer]:
    """Those that can be had here: Debian's where there is apt, a current one where there is Go."""
    found = []
    if shutil.which("apt-get"):
        folder = cache_root() / f"packer-{DEBIAN}-debian"
        ensure_built(folder, f"Debian's packer {DEBIAN}", _unpack_debian)
        found.append(Packer(DEBIAN, folder / "usr" / "bin" / "packer"))
    if current and shutil.which("go"):
        folder = cache_root() / f"packer-{CURRENT}-amazon-{PLUGIN}"
        ensure_built(folder, f"Packer {CURRENT}", _build_current)
        found.append(Packer(CURRENT, folder / "packer", folder / "plugins"))
    return found


def _unpack_debian(folder: Path) -> None:
    say(f"Getting Debian's packer {DEBIAN} into {folder.parent} (17 MB, not installed).")
    with tempfile.TemporaryDirectory() as work:
        run(["apt-get", "-q", "download", "packer"], doing="Getting packer", cwd=Path(work))
        (package,) = Path(work).glob(f"packer_{DEBIAN}*.deb")
        run(["dpkg-deb", "-x", str(package), str(folder)], doing="Unpacking packer")


def _build_current(folder: Path) -> None:
    say(f"Building Packer {CURRENT} and its amazon plugin {PLUGIN}, once, in about 7 minutes.")
    for name in MODULES:
        with tempfile.TemporaryDirectory() as work:
            _build(name, folder / name, Path(work) / "sources")
    plugins = folder / "plugins"
    environment = _quiet(folder.parent) | {"PACKER_PLUGIN_PATH": str(plugins)}
    run(
        [
            str(folder / "packer"), "plugins", "install", "--path",
            str(folder / "packer-plugin-amazon"), "github.com/hashicorp/amazon",
        ],
        doing="Installing the amazon plugin", env=environment,
    )  # fmt: skip
    (folder / "packer-plugin-amazon").unlink()


def _build(name: str, output: Path, sources: Path) -> None:
    module, checksum = MODULES[name]
    environment = go_environment()
    said = run(
        ["go", "mod", "download", "-json", module], doing=f"Downloading {module}", env=environment
    )
    facts = dict(
        line.strip().rstrip(",").replace('"', "").split(": ", 1)
        for line in said.splitlines()
        if '": "' in line
    )
    if facts["Sum"] != checksum:
        raise SystemExit(f"{module} has the checksum {facts['Sum']}, not {checksum}.")
    shutil.copytree(facts["Dir"], sources, copy_function=shutil.copyfile)
    for place in (sources, *sources.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", "-s -w"]
    run(
        ["go", "build", *flags, "-o", str(output), "."],
        doing=f"Compiling {name}", cwd=sources, env=environment,
    )  # fmt: skip


def _quiet(home: Path) -> dict[str, str]:
    """An environment in which Packer asks nobody about updates and keeps its files to itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PACKER_", "PKR_"))}
    return kept | {
        "CHECKPOINT_DISABLE": "1",
        "PACKER_NO_COLOR": "1",
        "HOME": str(home),
        "PACKER_CONFIG_DIR": str(home),
    }


def environment_of(packer: Packer, home: Path) -> dict[str, str]:
    """What it is run with."""
    plugins = {"PACKER_PLUGIN_PATH": str(packer.plugins)} if packer.plugins else {}
    return _quiet(home) | plugins


if __name__ == "__main__":
    for found in get_packers():
        print(f"{found.version}: {found.executable}")
