"""Finds an installed Pulumi CLI with its Python language host, or builds both into the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.go_build import GET_EITHER, GoProgram, build, check_go, get_module_folder
from toolchain.locks import locked
from toolchain.process import run
from toolchain.report import say
from toolchain.stamp import STAMP, find_fault, write_stamp

VERSION = "3.259.0"
"""The newest CLI whose Go module can be had; go.mod of `engine/` pins the same."""

_SDK = "github.com/pulumi/pulumi/sdk/v3"
_HERE = Path(__file__).resolve().parent

ENGINE = GoProgram(
    name="the Pulumi CLI",
    folder=_HERE / "engine",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    ldflags=f"-s -w -X {_SDK}/go/common/version.Version={VERSION}",
)
LANGUAGE_HOST = GoProgram(
    name="Pulumi's Python language host",
    folder=_HERE / "language_host",
    package=f"{_SDK}/python/cmd/pulumi-language-python",
)
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
"""Two small scripts of the SDK's module that the language host starts."""

EXECUTABLES = ("pulumi", "pulumi-language-python", *(Path(s).name for s in SCRIPTS))


@dataclass(frozen=True)
class PulumiCli:
    """A CLI that can be used: the folder that belongs on PATH, and whether we built it."""

    folder: Path
    version: str
    built: bool


def ensure_cli(*, besides: Collection[Path] = ()) -> PulumiCli:
    """Return an installed CLI, or the one in the cache, which is built first when it is not there.

    `besides` are folders of PATH that do not count as "installed" (a virtual environment's own).
    Raises SetupError when there is neither a CLI nor what it takes to build one.
    """
    installed = find_installed(besides=besides)
    if installed is not None:
        return installed
    folder = cache_root() / _cache_key()
    if find_fault(folder) is None:
        return PulumiCli(folder / "bin", VERSION, built=True)
    check_go(ENGINE.folder)
    with locked(folder.with_name(f"{folder.name}.lock"), waiting_for="building the Pulumi CLI"):
        fault = find_fault(folder)  # the process waited for may have built it
        if fault is not None:
            if folder.exists():
                say(f"The Pulumi CLI in {folder} is not used: {fault}. Building it again.")
            _build_into(folder)
    return PulumiCli(folder / "bin", VERSION, built=True)


def find_installed(*, besides: Collection[Path] = ()) -> PulumiCli | None:
    """Find a Pulumi 3 on PATH that runs and has its Python host; say why another is not used."""
    skipped = {folder.resolve() for folder in besides}
    entries = [Path(e) for e in os.environ.get("PATH", "").split(os.pathsep) if e]
    folders = [folder for folder in entries if folder.resolve() not in skipped]
    for folder in folders:
        found = shutil.which("pulumi", path=str(folder))
        if found is None or Path(found).resolve().is_relative_to(cache_root().resolve()):
            continue
        version = _ask_version(Path(found))
        if version is None or not version.startswith("3."):
            say(
                f"The pulumi in {folder} is not used: `pulumi version` says {version or 'nothing'}."
            )
        elif _has_language_host(Path(found), folders):
            return PulumiCli(folder, version, built=False)
        else:
            say(f"The pulumi in {folder} is not used: it has no pulumi-language-python.")
    return None


def cache_root() -> Path:
    """The user's cache folder for this project: $XDG_CACHE_HOME or ~/.cache, then `baked-ami`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "baked-ami"


def _cache_key() -> str:
    """The folder's name: version, system, and a hash of all that decides what is built."""
    digest = hashlib.sha256()
    for program in (ENGINE, LANGUAGE_HOST):
        digest.update(f"{program.package} {program.ldflags}\n".encode())
        for name in ("go.mod", "go.sum"):
            digest.update((program.folder / name).read_bytes())
    system = f"{platform.system()}-{platform.machine()}".lower()
    return f"pulumi-{VERSION}-{system}-{digest.hexdigest()[:12]}"


def _build_into(folder: Path) -> None:
    """Build in a folder beside, check it, stamp it, and only then give it its name."""
    say(f"No Pulumi CLI is installed: building version {VERSION} from source, once, into {folder}.")
    with _workplace(folder) as work:
        binaries = work / "bin"
        binaries.mkdir()
        build(LANGUAGE_HOST, binaries / "pulumi-language-python")
        build(ENGINE, binaries / "pulumi")
        sdk = get_module_folder(ENGINE, _SDK)
        for script in SCRIPTS:
            target = binaries / Path(script).name
            target.write_bytes((sdk / script).read_bytes())
            target.chmod(0o755)
        _check(binaries)
        write_stamp(work)
        if folder.exists():
            (folder / STAMP).unlink(
                missing_ok=True
            )  # from here on nobody takes the old one for good
            shutil.rmtree(folder)
        work.rename(folder)
    say(f"The Pulumi CLI {VERSION} is ready.")


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


def _check(binaries: Path) -> None:
    """Start what was built; raise SetupError when it does not answer as it must."""
    version = _ask_version(binaries / "pulumi")
    if version != VERSION:
        raise SetupError(
            f"The Pulumi CLI that was built says it is version {version or '(nothing)'}, "
            f"not {VERSION}: it is thrown away.",
            resolution=f"see that `go version` works as it should, or {GET_EITHER}",
        )
    run([str(binaries / "pulumi-language-python"), "--help"], doing="Starting the language host")


def _ask_version(executable: Path) -> str | None:
    """What `pulumi version` answers, without its "v"; None when it does not run."""
    with tempfile.TemporaryDirectory() as home:
        quiet = {"PULUMI_SKIP_UPDATE_CHECK": "1", "PULUMI_HOME": home}
        try:
            answer = subprocess.run(
                [str(executable), "version"],
                env=dict(os.environ) | quiet,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
    return answer.stdout.strip().removeprefix("v")


def _has_language_host(executable: Path, path: Collection[Path]) -> bool:
    """The engine looks for it on PATH and beside itself, whatever link it was started through."""
    places = [*path, executable.resolve().parent]
    return (
        shutil.which("pulumi-language-python", path=os.pathsep.join(map(str, places))) is not None
    )
