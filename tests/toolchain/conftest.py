"""A machine with nothing on it but a made-up `go`, whose every move a test decides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from toolchain.pulumi_cli import EXECUTABLES, VERSION

CHECKOUT = Path(__file__).resolve().parents[2]

FAKE_GO = """#!/bin/sh
# Logs each call; fails or stands still where the test says so; "compiles" shell scripts.
echo "$*" >>"$FAKE/calls"
step=$1
for last; do :; done
[ "$1" = build ] && step="build ${last##*/}"
if [ -e "$FAKE/stand still at $step" ]; then
    echo half >"${output:-$FAKE/half}"
    echo here >"$FAKE/stands still"
    cat "$FAKE/go on" >/dev/null
fi
if [ -e "$FAKE/fail at $step" ]; then cat "$FAKE/fail at $step" >&2; exit 1; fi
case $1 in
env) cat "$FAKE/version" ;;
list)
    echo "go: downloading example.com/module v1.0.0" >&2
    echo "not installed but available in build cache"
    echo "stale dependency: net"
    echo "stale dependency: os" ;;
build)
    while [ "$1" != -o ]; do shift; done
    printf 'net\\nexample.com/module/v2\\n' >&2
    if [ -e "$FAKE/builds version" ]; then version=$(cat "$FAKE/builds version"); fi
    printf '#!/bin/sh\\necho %s\\n' "${version:-VERSION}" >"$2"
    chmod +x "$2" ;;
mod) printf '{\\n\\t"Dir": "%s/sdk"\\n}\\n' "$FAKE" ;;
esac
""".replace("VERSION", VERSION)


@dataclass
class Machine:
    """Where a test runs `python -m toolchain` with an environment of its own."""

    root: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def bin(self) -> Path:
        """The first folder of PATH."""
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        """$XDG_CACHE_HOME/baked-ami."""
        return self.root / "cache" / "baked-ami"

    def environment(self) -> dict[str, str]:
        """PATH is `bin` and the system's own folders; home and cache are here."""
        return {
            "PATH": f"{self.bin}:{self.root}/system",
            "HOME": str(self.root),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "FAKE": str(self.root),
        }

    def tell_go(self, what: str, text: str = "") -> None:
        """Change how the made-up `go` behaves from now on."""
        (self.root / what).write_text(text)

    def calls(self, command: str) -> list[str]:
        """Calls of the made-up `go` that begin with `command`."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith(command)]

    def executable(self, name: str, script: str) -> Path:
        """Put a shell script on PATH."""
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `python -m toolchain …`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "toolchain", *arguments],
            cwd=CHECKOUT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def ensure(self) -> tuple[int, str, str]:
        """Run `python -m toolchain ensure`; its exit status, output and messages."""
        process = self.start("ensure")
        output, messages = process.communicate()
        return process.returncode, output, messages

    def built(self) -> list[Path]:
        """Folders in the cache that have the name of a finished build."""
        return [p for p in self.cache.glob("pulumi-*") if p.is_dir()]

    def half_built(self) -> list[Path]:
        """Folders in the cache that a build works in."""
        return list(self.cache.glob(".pulumi-*.building-*"))

    def wait_until_go_stands_still(self) -> None:
        """Return once the made-up `go` has come to the point where it was told to stand still."""
        assert (self.root / "stands still").read_text() == "here\n"

    def no_more_standing_still(self) -> None:
        """Calls of the made-up `go` from now on run through."""
        for order in self.root.glob("stand still at *"):
            order.unlink()

    def let_go_on(self) -> None:
        """Let the made-up `go` that stands still continue."""
        self.no_more_standing_still()
        (self.root / "go on").write_text("")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with Go 1.26 and no Pulumi."""
    found = Machine(tmp_path)
    found.bin.mkdir()
    (tmp_path / "system").mkdir()
    for tool in ("sh", "cat", "chmod"):
        real = next(p for d in ("/usr/bin", "/bin") if (p := Path(d, tool)).exists())
        (tmp_path / "system" / tool).symlink_to(real)
    found.executable("go", FAKE_GO)
    found.tell_go("version", "go1.26.3\n")
    for script in (
        "python/cmd/pulumi-language-python-exec",
        "python/dist/pulumi-resource-pulumi-python",
    ):
        (tmp_path / "sdk" / script).parent.mkdir(parents=True)
        (tmp_path / "sdk" / script).write_text("#!/bin/sh\n")
    os.mkfifo(tmp_path / "stands still")
    os.mkfifo(tmp_path / "go on")
    yield found
    for process in found.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def assert_complete(folder: Path) -> None:
    """All four executables are there and the CLI answers."""
    assert sorted(p.name for p in folder.iterdir()) == sorted(EXECUTABLES)
    answer = subprocess.run([folder / "pulumi"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == VERSION
