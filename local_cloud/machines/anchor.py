"""The namespaces of one local cloud, and commands run inside them. They end with this process,
even by `kill -9`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from local_cloud.machines import linux
from local_cloud.machines.contract import MachineError

HERE = Path(__file__).parent
GATEWAY = "169.254.1.1"
METADATA = "169.254.169.254"
RESOLVER = "169.254.169.253"
CREDENTIALS = "169.254.170.2"


class Anchor:
    """A process that holds a mount, a network and a PID namespace.

    Everything that the cloud mounts or starts is inside them, so the host sees none of its mounts
    and the kernel ends every one of its processes with this one.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork",
             "--kill-child", "bash", str(HERE / "anchor.sh"), GATEWAY, METADATA, RESOLVER,
             CREDENTIALS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, cwd="/",
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read().strip()
            self._process.wait()
            raise MachineError(f"The local cloud's namespaces could not be made: {said}")
        self.pid = int(line)
        self.started = linux.start_time(self.pid) or 0

    def path(self, path: Path) -> Path:
        """How this process reaches a path of the cloud's mount namespace."""
        return Path(f"/proc/{self.pid}/root") / path.relative_to("/")

    def entering(self, *command: str, network: bool = False) -> list[str]:
        """The command line that runs `command` with the cloud's mounts, or in its network."""
        return ["nsenter", "--target", str(self.pid), "--net" if network else "--mount", *command]

    def run(self, *command: str, network: bool = False, stdin: str | None = None) -> str:
        """Run a command inside and return what it printed. Raises MachineError with its words."""
        done = subprocess.run(
            self.entering(*command, network=network),
            input=stdin, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise MachineError(f"`{' '.join(command)}` failed: {said}")
        return done.stdout

    def close(self) -> None:
        """End every process inside and with them every mount; returns when they are gone."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
