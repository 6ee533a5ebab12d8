"""Finds an installed Pulumi CLI with its Python language host, or builds both into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from toolchain.build_cache import cache_root, ensure_built, get_place
from toolchain.errors import SetupError
from toolchain.go_build import GET_EITHER, GoProgram, build, check_go, get_module_folder
from toolchain.process import run
from toolchain.report import say
from toolchain.stamp import find_fault

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
    folder = get_place("pulumi", VERSION, (ENGINE, LANGUAGE_HOST))
    if find_fault(folder) is not None:
        check_go(ENGINE)
        ensure_built(folder, "the Pulumi CLI", _build_into)
        say(f"The Pulumi CLI {VERSION} is ready.")
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


def _build_into(work: Path) -> None:
    say(
        f"No Pulumi CLI is installed: building version {VERSION} from source, once, "
        f"into {work.parent}."
    )
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
