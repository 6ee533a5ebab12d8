"""Control groups of machines, for the hierarchies that this host has (version 1, hybrid, or
version 2).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hierarchy:
    """One mounted control-group hierarchy: where, and this process's own group in it."""

    mount: Path
    version: int
    controllers: str


def find_hierarchies() -> list[Hierarchy]:
    """What is mounted, from /proc/self/mountinfo, each once."""
    found: dict[str, Hierarchy] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, super_options = after.split(" ", 2)
        mount = Path(before.split()[4])
        if kind == "cgroup2":
            found.setdefault("2", Hierarchy(mount, 2, ""))
        elif kind == "cgroup":
            names = sorted(set(super_options.split(",")) - {"rw", "ro", "xattr", "release_agent"})
            names = [name for name in names if not name.startswith("release_agent=")]
            controllers = ",".join(names)
            found.setdefault(controllers, Hierarchy(mount, 1, controllers))
    return list(found.values())


class Group:
    """One group of the same name in every hierarchy."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders = [hierarchy.mount / name for hierarchy in find_hierarchies()]

    def create(self) -> None:
        """Make it. A version 1 cpuset starts empty and takes no process until it has processors."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._pass_on_controllers(folder)
            for file in ("cpuset.cpus", "cpuset.mems"):
                self._inherit(folder, file)

    def _pass_on_controllers(self, folder: Path) -> None:
        """In version 2 a group has the controllers that each one above it passes on."""
        for one in reversed(folder.parents[: len(Path(self.name).parts)]):
            available = one / "cgroup.controllers"
            if not available.exists():
                return
            for controller in available.read_text().split():
                with contextlib.suppress(OSError):  # one that cannot be passed on is not missed
                    (one / "cgroup.subtree_control").write_text(f"+{controller}")

    def _inherit(self, folder: Path, file: str) -> None:
        if not (folder / "cgroup.clone_children").exists() or not (folder / file).exists():
            return
        if folder.parent.joinpath(file).exists() and not (folder / file).read_text().strip():
            if not folder.parent.joinpath(file).read_text().strip():
                self._inherit(folder.parent, file)
            (folder / file).write_text(folder.parent.joinpath(file).read_text())

    def child(self, name: str) -> Group:
        return Group(f"{self.name}/{name}")

    def create_within(self) -> None:
        """Make it in a group that is there. What that one passes on is its machine's affair.

        Raises FileNotFoundError when that group is gone.
        """
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                self._inherit(folder, file)

    def delete(self, *, timeout_s: float = 5.0) -> None:
        """Remove it with all below. Its processes have ended; the kernel may lag a little."""
        deadline = time.monotonic() + timeout_s
        while left := [folder for folder in self.folders if folder.exists()]:
            for folder in left:
                for below in sorted(folder.rglob("*/"), key=lambda path: -len(path.parts)):
                    with contextlib.suppress(OSError):
                        below.rmdir()
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if time.monotonic() > deadline:
                return
            if any(folder.exists() for folder in left):
                time.sleep(0.02)
