"""Compiles a Go program from a pinned module of ours, saying how far it is and for how long."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.process import run
from toolchain.report import Progress, in_words, say

GO_NEEDED = (1, 26)
"""What both go.mod files name; an older Go refuses them."""

CPU_SECONDS_A_PACKAGE = 0.22
"""370 CPU seconds for the CLI's 1,686 packages with Go 1.26 on 2 x86-64 cores."""

LINK_SECONDS = 15.0
"""Linking the CLI, which uses one core only, on the same machine."""

DISK_NEEDED = (
    "about 4 GB, of which the CLI keeps 0.13 GB; `go clean -cache -modcache` frees the rest"
)

GET_EITHER = (
    "install Go 1.26 or newer (https://go.dev/doc/install), with which the Pulumi CLI is built, "
    "once, in about 6 minutes, or install Pulumi itself (https://www.pulumi.com/docs/install/)"
)

_PACKAGE = re.compile(r"^[A-Za-z0-9_.~\-]+(/[A-Za-z0-9_.~\-+]+)*$")


@dataclass(frozen=True)
class GoProgram:
    """A main package in a module folder of ours (go.mod, go.sum), and its linker flags."""

    name: str
    folder: Path
    package: str
    ldflags: str = "-s -w"
    otherwise: str = GET_EITHER
    """What to do where it cannot be built."""


def go_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The caller's environment without what would change the outcome: flags, target, workspace.

    cgo is off, so no C compiler is needed. Proxies, caches and GOTOOLCHAIN stay the caller's.
    """
    kept = {k: v for k, v in environ.items() if k not in {"GOOS", "GOARCH", "GOEXPERIMENT"}}
    return kept | {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


def check_go(program: GoProgram) -> str:
    """Return the version of the Go that will build `program`, such as "1.26.8".

    Raises SetupError where there is none or it is older than GO_NEEDED.
    """
    if shutil.which("go") is None:
        raise SetupError(
            f"There is no {program.name.removeprefix('the ')} and no Go to build one with.",
            resolution=program.otherwise,
        )
    said = run(
        ["go", "env", "GOVERSION"],
        doing="Asking Go for its version",
        cwd=program.folder,
        env=go_environment(),
        resolution=lambda _: program.otherwise,
    )
    match = re.search(r"go(\d+)\.(\d+)\S*", said)
    if match is None or (int(match[1]), int(match[2])) < GO_NEEDED:
        raise SetupError(
            f"Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer is needed to build {program.name}; "
            f"the `go` on PATH ({shutil.which('go')}) is {match[0] if match else repr(said)}.",
            resolution=program.otherwise,
        )
    return match[0].removeprefix("go")


def build(program: GoProgram, output: Path) -> None:
    """Compile `program` into the file `output`; modules come from Go's proxy or its cache."""
    packages = _download(program)
    expected = packages * CPU_SECONDS_A_PACKAGE / (os.cpu_count() or 1) + LINK_SECONDS
    duration = f"about {in_words(expected)} if nothing else runs"
    say(f"Compiling {program.name}: {packages} packages, {duration}.")
    progress = Progress()
    done = 0

    def on_line(line: str) -> bool:
        nonlocal done
        if not _PACKAGE.match(line):
            return False
        done += 1
        if done < packages:
            progress.show(f"{program.name}: compiled {done} of {packages} packages")
        else:
            progress.show(f"{program.name}: all packages compiled, linking")
        return True

    run(
        [
            "go",
            "build",
            "-v",
            *_FLAGS,
            "-ldflags",
            program.ldflags,
            "-o",
            str(output),
            program.package,
        ],
        doing=f"Compiling {program.name}",
        cwd=program.folder,
        env=go_environment(),
        on_line=on_line,
        resolution=lambda lines: _way_out(program, lines),
    )
    say(f"Compiled {program.name} in {in_words(progress.elapsed())}.")


def get_module_folder(program: GoProgram, module: str) -> Path:
    """The folder in Go's module cache with the sources of `module`, in the version pinned."""
    said = run(
        ["go", "mod", "download", "-json", module],
        doing=f"Downloading {module}",
        cwd=program.folder,
        env=go_environment(),
        resolution=lambda lines: _way_out(program, lines),
    )
    match = re.search(r'"Dir": "(.+)"', said)
    if match is None:
        raise SetupError(f"Go does not say where it put {module}", details=said)
    return Path(match[1])


_FLAGS = ("-trimpath", "-buildvcs=false")


def _download(program: GoProgram) -> int:
    """Fetch the modules that `program` needs; return how many packages are still to compile."""
    modules = (program.folder / "go.mod").read_text(encoding="utf-8").count(" v")
    progress = Progress()
    fetched = 0

    def on_line(line: str) -> bool:
        nonlocal fetched
        if not line.startswith("go: downloading "):
            return line.startswith("not installed but available")
        if fetched == 0:
            say(f"Downloading the Go modules of {program.name} (at most {modules}).")
        fetched += 1
        progress.show(f"{program.name}: downloading module {fetched} of at most {modules}")
        return True

    template = "{{if .Stale}}{{.StaleReason}}{{end}}"
    listed = run(
        ["go", "list", "-deps", *_FLAGS, "-f", template, program.package],
        doing=f"Downloading the Go modules of {program.name}",
        cwd=program.folder,
        env=go_environment(),
        on_line=on_line,
        resolution=lambda lines: _way_out(program, lines),
    )
    return len(listed.splitlines())


def _way_out(program: GoProgram, last_lines: str) -> str:
    text = last_lines.lower()
    if "no space left" in text or "disk quota" in text:
        return f"free some disk space ({DISK_NEEDED}) and run the same command again"
    if "signal: killed" in text or "cannot allocate memory" in text:
        return "close other programs (compiling takes up to 2 GB of memory) and run it again"
    if any(
        sign in text for sign in ("dial tcp", "no such host", "timeout", "proxy", "tls:", "eof")
    ):
        return (
            "check the network: Go modules come from the proxy that `go env GOPROXY` names. "
            "Running the same command again continues where it stopped"
        )
    if "checksum mismatch" in text:
        return "something altered a download: `go clean -modcache`, then run the same command again"
    return f"mend what the lines above name, or {program.otherwise}"
