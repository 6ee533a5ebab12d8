"""What a disk image holds that no AMI may: found from outside, without a boot, by its own rules.

`python -m tests.ami_provider.disk_scan IMAGE FOLDER` mounts it read-only on the folder, in a mount
namespace that ends with the process, and prints what it finds as JSON.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LEFTOVERS = {
    "credential": ("root/.docker/*", "home/*/.docker/*", "root/.aws/*", "home/*/.aws/*",
                   "root/.netrc", "home/*/.netrc", "run/*"),
    "key": ("root/.ssh/*", "home/*/.ssh/*", "etc/ssh/ssh_host_*"),
    "history": ("root/.*_history", "home/*/.*_history", "*/.lesshst", "*/.viminfo"),
    "identity": ("etc/machine-id", "var/lib/dbus/machine-id", "var/lib/ecs/data/*",
                 "var/lib/cloud/*", "var/lib/systemd/random-seed", "var/lib/amazon/ssm/Vault/*",
                 "var/lib/amazon/ssm/registration*", "var/lib/baked-ami*"),
    "rest": ("tmp/*", "var/tmp/*", "var/cache/dnf/*", "var/cache/yum/*", "*.baked-ami-*",
             "var/log/[!j]*"),
}  # fmt: skip
SECRETS = re.compile(
    rb"(?<![A-Z0-9])A[KS]IA[A-Z2-7]{16}(?![A-Z0-9])"
    rb"|(?i:secret_?access_?key)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9/+]{40}"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{20}"
    rb"|\"auth\"\s*:\s*\"[A-Za-z0-9+/=]{20}"
    rb"|hf_[A-Za-z]{34}|gh[ps]_[A-Za-z0-9]{36}"
)
NOT_READ = ("proc", "sys", "dev", "var/lib/docker", "var/lib/containerd", "usr/lib", "usr/bin")
CHUNK = 4 << 20


def scan(root: Path) -> dict[str, list[str]]:
    """Kind -> paths, of files that are not empty."""
    found: dict[str, list[str]] = {}
    for path in list_files(root):
        name = str(path.relative_to(root))
        for kind, patterns in LEFTOVERS.items():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                found.setdefault(kind, []).append(name)
        if SECRETS.search(path.read_bytes()):
            found.setdefault("secret", []).append(name)
    return found


def list_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if os.path.normpath(f"{inside}/{f}") not in NOT_READ]
        for file in files:
            path = Path(folder, file)
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                yield path


def find_bytes(image: Path, secrets: list[bytes]) -> list[str]:
    """Which of these stand anywhere on the disk, also in blocks that no file has any more."""
    overlap = max(map(len, secrets))
    found: set[bytes] = set()
    with image.open("rb") as disk:
        position, end = 0, disk.seek(0, os.SEEK_END)
        while position < end:
            try:  # What was never written is not read.
                position = max(position, os.lseek(disk.fileno(), position, os.SEEK_DATA))
            except OSError:
                break
            piece = os.pread(disk.fileno(), CHUNK, position)
            found |= {secret for secret in secrets if secret in piece}
            position += max(1, len(piece) - overlap) if len(piece) == CHUNK else len(piece) or 1
    return sorted(secret.decode() for secret in found)


def scan_image(image: Path, folder: Path) -> dict[str, list[str]]:
    """As `scan`, of a disk image, by a process of its own that mounts it read-only."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-m",
         "tests.ami_provider.disk_scan", str(image), str(folder)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    image, folder = sys.argv[1:]
    subprocess.run(["mount", "-t", "ext4", "-o", "ro,noload,loop", image, folder], check=True)
    json.dump(scan(Path(folder)), sys.stdout)
