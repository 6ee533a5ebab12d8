"""The disk that every base AMI begins with: an ext4 image made once of Debian's packages, in the
user's cache.

`python -m local_cloud.machines.base_disk` makes it ahead of time.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local_cloud.machines.anchor import HERE
from local_cloud.machines.contract import GIB, MachineError

#: Amazon Linux's own AMIs have 8 GiB; the ECS families are grown to theirs.
_SIZE_BYTES = 8 * GIB
#: A line of sources.list: "deb [options] mirror suite components".
_DEB_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)")
_BASE = HERE / "base"
#: Measured: 55-75 s on two busy cores with a near mirror.
_ABOUT = "about 1 to 2 minutes, once"


@dataclass(frozen=True)
class Distribution:
    """Where the packages come from: this host's own configuration of apt."""

    mirror: str
    suite: str
    components: tuple[str, ...]


def find_distribution(etc: Path = Path("/etc")) -> Distribution:
    """The first package mirror that this host's apt uses. Raises MachineError if it has none."""
    release = dict(_pairs((etc / "os-release").read_text(), "="))
    suite = release.get("VERSION_CODENAME", "").strip('"')
    mirror = next(_mirrors(etc / "apt"), None)
    if not suite or not mirror:
        raise MachineError(
            "The disk of the base AMIs is made of Debian packages, but apt has no mirror here "
            "(/etc/apt/sources.list.d): configure one, as on any Debian or Ubuntu."
        )
    components = ("main", "universe") if release.get("ID") == "ubuntu" else ("main",)
    return Distribution(mirror, suite, components)


def _pairs(text: str, separator: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, found, value = line.partition(separator)
        if found and not line.startswith("#"):
            yield name.strip(), value.strip()


def _mirrors(apt: Path) -> Iterator[str]:
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        for name, value in _pairs(file.read_text(), ":"):
            if name == "URIs":
                yield from value.split()
    for file in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        if file.exists():
            for line in file.read_text().splitlines():
                if found := _DEB_LINE.match(line):
                    yield found[1]


def get_base_image(say: Callable[[str], None]) -> Callable[[], Path]:
    """A function that gives the image's path, making it when first asked and there is none."""
    return functools.cache(lambda: _find_or_make(cache_folder(), say))


def cache_folder() -> Path:
    """Where the user keeps what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "baked-ami"


def _packages() -> list[str]:
    lines = (_BASE / "packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _fingerprint(suite: str) -> str:
    """Of all that decides the content, but the day on which it is made."""
    digest = hashlib.sha256(f"{suite} {platform.machine()} {_SIZE_BYTES}\n".encode())
    for name in ("packages.txt", "prepare.sh"):
        digest.update((_BASE / name).read_bytes())
    return digest.hexdigest()[:12]


def _find_or_make(cache: Path, say: Callable[[str], None]) -> Path:
    distribution = find_distribution()
    name = f"base-{distribution.suite}-{_fingerprint(distribution.suite)}"
    image = cache / f"{name}.ext4"
    if image.exists():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process is making the disk of the base AMIs: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            _make(image, distribution, say)
    return image


def _make(image: Path, distribution: Distribution, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    say(f"Making the disk of the base AMIs from Debian packages ({_ABOUT}) in {image.parent}.")
    building = image.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    root, partial = building / "root", building / "disk"
    root.mkdir(parents=True, mode=0o755)
    try:
        _install(root, distribution, building / "log", say)
        say("Making the disk of the base AMIs: writing the image.")
        _call("bash", str(_BASE / "prepare.sh"), str(root))
        with partial.open("wb") as file:
            file.truncate(_SIZE_BYTES)
        _call(
            "mke2fs", "-q", "-F", "-t", "ext4", "-L", "/", "-i", "32768", "-J", "size=64", "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-d", str(root), str(partial),
        )  # fmt: skip
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(image)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    size = image.stat().st_blocks * 512 / 1e6
    say(f"Made the disk of the base AMIs: {size:.0f} MB in {time.monotonic() - started:.0f} s.")


def _install(root: Path, distribution: Distribution, log: Path, say: Callable[[str], None]) -> None:
    """Run debootstrap in a mount namespace of its own, so that what it mounts never outlives it."""
    command = [
        "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child",
        "--mount-proc", "debootstrap", "--variant=minbase", f"--include={','.join(_packages())}",
        f"--components={','.join(distribution.components)}",
        distribution.suite, str(root), distribution.mirror,
    ]  # fmt: skip
    stages = {"I: Retrieving": "downloading", "I: Extracting": "unpacking the core",
              "I: Unpacking": "unpacking", "I: Configuring": "configuring"}  # fmt: skip
    seen: set[str] = set()
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
        log.open("w") as kept,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            kept.write(line)
            stage = next((words for start, words in stages.items() if line.startswith(start)), None)
            if stage and stage not in seen:
                seen.add(stage)
                say(f"Making the disk of the base AMIs: {stage} packages.")
    if process.returncode != 0:
        tail = " / ".join(log.read_text().strip().splitlines()[-4:])
        raise MachineError(f"debootstrap could not make the disk of the base AMIs: {tail}")


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"`{' '.join(command[:2])}` failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    get_base_image(lambda line: print(line, file=sys.stderr, flush=True))()  # noqa: T201
