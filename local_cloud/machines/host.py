"""Whether this host can run real machines, and what it lacks for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local_cloud.machines.anchor import HERE
from local_cloud.machines.cgroups import find_hierarchies

#: A command of each Debian package in debian-packages.txt: present when the package is.
_COMMANDS = {
    "busybox-static": "busybox",
    "debootstrap": "debootstrap",
    "e2fsprogs": "mke2fs",
    "iproute2": "ip",
    "mount": "losetup",
    "util-linux": "nsenter",
    "xfsprogs": "mkfs.xfs",
}
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def needed_packages() -> list[str]:
    """Debian packages that real machines need on the host."""
    lines = (HERE / "debian-packages.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def why_not_real() -> str | None:
    """Why machines cannot be real here, in one line that says what to do, or None when they can."""
    if sys.platform != "linux":
        return f"real machines need Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "real machines need root: start the local cloud as root (or with sudo)"
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SBIN])
    missing = [
        package
        for package in needed_packages()
        if shutil.which(_COMMANDS.get(package, package), path=path) is None
    ]
    if missing:
        return f"these packages are not installed: apt-get install {' '.join(missing)}"
    return _why_not_kernel()


def _why_not_kernel() -> str | None:
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    modules = Path("/lib/modules") / os.uname().release
    for kind in ("ext4", "xfs", "overlay"):
        if kind not in known and not any(modules.rglob(f"{kind}.ko*")):
            return f"this kernel has no {kind} file system"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices (/dev/loop-control is not there)"
    if not Path("/proc/self/ns/cgroup").exists():
        return "this kernel has no control-group namespaces"
    hierarchies = find_hierarchies()
    if not hierarchies:
        return "no control groups are mounted (/sys/fs/cgroup)"
    if closed := [one.mount for one in hierarchies if not os.access(one.mount, os.W_OK)]:
        return f"control groups cannot be made: {closed[0]} is read-only (a container?)"
    return _why_not_namespaces()


def _why_not_namespaces() -> str | None:
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode != 0:
        return f"this root may not make namespaces (a container?): {tried.stderr.strip()}"
    return None
