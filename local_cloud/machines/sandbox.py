"""One machine's life: namespaces and systemd over its root disk, from power-on to power-off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from local_cloud.machines import linux
from local_cloud.machines.anchor import GATEWAY, HERE, RESOLVER, Anchor
from local_cloud.machines.cgroups import Group
from local_cloud.machines.contract import MachineError, MachineSpec
from local_cloud.machines.gpus import text_of

Ending = Literal["power-off", "reboot", "death"]

_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals": start poweroff.target
_REBOOT = signal.SIGRTMIN + 5
#: How the kernel lets the parent know that PID 1 of a namespace called reboot(2): see reboot(2).
_ENDINGS: dict[int, Ending] = {-signal.SIGINT: "power-off", -signal.SIGHUP: "reboot"}


@dataclass(frozen=True)
class Wiring:
    """Plugs the machine that is about to boot (PID as the host sees it) into the cloud's
    network.
    """

    connect: Callable[[int, MachineSpec], None]
    ca: Path


class Sandbox:
    """A machine that runs. It is one boot: after a reboot another one takes its place."""

    def __init__(
        self,
        spec: MachineSpec,
        *,
        anchor: Anchor,
        group: Group,
        folder: Path,
        disk: Path,
        wiring: Wiring,
    ) -> None:
        """Start it; returns when its PID 1 has become the disk's init. Raises MachineError.

        `folder` is the machine's own on the host: the mount point of its root and its console's
        log.
        """
        self.spec = spec
        self.group = group
        self.folder = folder
        self._anchor = anchor
        (folder / "root").mkdir(parents=True, exist_ok=True)
        group.create()
        try:
            self._start(disk, wiring)
        except BaseException:
            group.delete()
            raise

    def _start(self, disk: Path, wiring: Wiring) -> None:
        with contextlib.closing(linux.LoopDevice(disk)) as loop:  # the mount keeps it from then on
            self._disk = loop
            with (self.folder / "console.log").open("ab") as console:
                self._process = subprocess.Popen(
                    self._command(), env=self._environment(wiring), cwd="/", text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=console,
                    start_new_session=True,
                )  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self.pid = 0
            try:
                with self._process.stdin as tell, self._process.stdout as hear:
                    self.pid = int(self._hear(hear))
                    self.started = linux.start_time(self.pid) or 0
                    wiring.connect(self.pid, self.spec)
                    tell.write("go\n")
                    tell.flush()
                    self._hear(hear)
            except BaseException:
                if self.pid:
                    self.kill()
                self._process.kill()
                self._process.wait()
                raise

    def _hear(self, hear: IO[str]) -> str:
        """The next word of boot.sh. Raises MachineError with its complaint if it ended instead."""
        if word := hear.readline().strip():
            return word
        self._process.wait()
        log = (self.folder / "console.log").read_text(errors="replace").strip().splitlines()
        said = " / ".join(log[-5:]) or "no reason given"
        raise MachineError(f"Machine {self.spec.instance_id} did not boot: {said}")

    def _command(self) -> list[str]:
        return [
            # A reboot ends the machine by SIGHUP, which this cloud may have been told to ignore.
            "env", "--default-signal=HUP,INT",
            "bash", str(HERE / "join.sh"), *(str(folder) for folder in self.group.folders), "--",
            "nsenter", "--target", str(self._anchor.pid), "--mount", "--pid", "--",
            "unshare", "--mount", "--propagation", "private", "--net", "--uts", "--ipc", "--cgroup",
            "--pid", "--fork", "--kill-child", "bash", str(HERE / "boot.sh"),
        ]  # fmt: skip

    def _environment(self, wiring: Wiring) -> dict[str, str]:
        spec = self.spec
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(self.folder / "root"),
            "DISK": str(self._disk.number),
            "ADDRESS": spec.private_ip,
            "PUBLIC": spec.public_ip or "",
            "GATEWAY": GATEWAY,
            "RESOLVER": RESOLVER,
            "HOST_NAME": spec.hostname,
            "SEARCH": f"{spec.region}.compute.internal",
            "CA": str(wiring.ca),
            "GPUS": str(spec.gpus),
            "GPU_TEXT": text_of(spec.instance_type),
            "GUEST": str(HERE / "guest"),
        }

    def watch(self, ended: Callable[[Ending], None]) -> None:
        """Call `ended` from a thread of its own once no process of the machine is left."""

        def wait() -> None:
            code = self._process.wait()
            while self._disk.is_in_use():  # a disk mounted twice would be ruined
                time.sleep(0.01)
            self.group.delete()
            ended(_ENDINGS.get(code, "death"))

        threading.Thread(target=wait, name=f"watch-{self.spec.instance_id}", daemon=True).start()

    @property
    def loop(self) -> int:
        """The number of the root disk's loop device."""
        return self._disk.number

    @property
    def root(self) -> Path:
        """The machine's root folder as this process reaches it. Links in it lead to the host: see
        `inside`.
        """
        return Path(f"/proc/{self.pid}/root")

    def inside(self, *command: str) -> list[str]:
        """The command line that runs `command` as root on the machine, in a group of its own there.

        Raises FileNotFoundError when the machine is gone.
        """
        group = self.group.child("amazon-ssm-agent")
        group.create_within()  # every time: systemd removes empty groups that it does not know
        return [
            "bash", str(HERE / "join.sh"), *(str(folder) for folder in group.folders), "--",
            "nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc",
            "--cgroup", "--", *command,
        ]  # fmt: skip

    def ask_to_power_off(self) -> None:
        self._signal(_POWER_OFF)

    def ask_to_reboot(self) -> None:
        self._signal(_REBOOT)

    def kill(self) -> None:
        """Cut the power."""
        self._signal(signal.SIGKILL)

    def is_alive(self) -> bool:
        """Whether its PID 1 is there."""
        return linux.start_time(self.pid) == self.started

    def _signal(self, number: int) -> None:
        # Only to the process that we started: its number could have been given to another one
        # since.
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
