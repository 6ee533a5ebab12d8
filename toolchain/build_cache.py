"""Builds from source in the user's cache: once for each version, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolchain.go_build import GoProgram
from toolchain.locks import locked
from toolchain.report import say
from toolchain.stamp import STAMP, find_fault, write_stamp


def cache_root() -> Path:
    """The user's cache folder for this project: $XDG_CACHE_HOME or ~/.cache, then `baked-ami`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "baked-ami"


def get_place(name: str, version: str, programs: Sequence[GoProgram]) -> Path:
    """The folder of a build: version, system, and a hash of all that decides what is built."""
    digest = hashlib.sha256()
    for program in programs:
        digest.update(f"{program.package} {program.ldflags}\n".encode())
        for file in ("go.mod", "go.sum"):
            digest.update((program.folder / file).read_bytes())
    system = f"{platform.system()}-{platform.machine()}".lower()
    return cache_root() / f"{name}-{version}-{system}-{digest.hexdigest()[:12]}"


def ensure_built(folder: Path, what: str, fill: Callable[[Path], None]) -> None:
    """Have `fill` build into a folder beside, stamp it, and only then give it its name.

    Does nothing where `folder` is whole; one process builds at a time, others wait for it. What
    `fill` raises comes through, and nothing is left of its work.
    """
    if find_fault(folder) is None:
        return
    with locked(folder.with_name(f"{folder.name}.lock"), waiting_for=f"building {what}"):
        fault = find_fault(folder)  # the process waited for may have built it
        if fault is None:
            return
        if folder.exists():
            say(f"{what[0].upper()}{what[1:]} in {folder} is not used: {fault}. Building it again.")
        with _workplace(folder) as work:
            fill(work)
            write_stamp(work)
            if folder.exists():
                # from here on nobody takes the old one for good
                (folder / STAMP).unlink(missing_ok=True)
                shutil.rmtree(folder)
            work.rename(folder)


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder`, gone afterwards; ones left by a killed build go first."""
    prefix = f".{folder.name}.building-"
    for left in folder.parent.glob(f"{prefix}*"):
        say(f"Removing what an interrupted build left in {left}.")
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    work.chmod(0o755)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
