"""What is on a baked disk, as text that two disks can be compared by: found from outside, no boot.

`python -m tests.ami_provider.disk_content IMAGE FOLDER` mounts it read-only on the folder, in a
mount namespace that ends with the process, and prints it as JSON. Docker's images and layers come
by what they are (IDs, names, digests, every file of every layer), not by the random names of their
folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DOCKER = "var/lib/docker"
NOT_CONTENT = (
    "proc", "sys", "dev", "run", "lost+found",
    DOCKER,  # listed in its own way
    "var/lib/containerd",  # Docker's own engine; no image of ours is in it
    "var/log", "var/lib/systemd",  # what any boot writes
    "etc/baked-ami/layers.sha256",  # names layers by their folders
)  # fmt: skip


def list_content(root: Path) -> dict[str, str]:
    """Path or layer -> what it is."""
    found = {str(p.relative_to(root)): describe(p) for p in walk(root, root)}
    return found | list_images(root / DOCKER)


def walk(folder: Path, root: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if str(entry.relative_to(root)) in NOT_CONTENT:
            continue
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from walk(entry, root)


def describe(path: Path) -> str:
    """Kind, mode, owner, and the bytes of a file or the target of a link."""
    status = path.lstat()
    head = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{head} -> {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            return f"{head} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return head


def list_images(docker: Path) -> dict[str, str]:
    store = docker / "image" / "overlay2"
    names = json.loads((store / "repositories.json").read_text())["Repositories"]
    found = {f"name {name}": image for each in names.values() for name, image in each.items()}
    for config in (store / "imagedb" / "content" / "sha256").iterdir():
        found[f"image {config.name}"] = " ".join(
            json.loads(config.read_text())["rootfs"]["diff_ids"]
        )
    folders = {path.name for path in (docker / "overlay2").iterdir() if path.name != "l"}
    for layer in (store / "layerdb" / "sha256").iterdir():
        folder = (layer / "cache-id").read_text()
        folders.discard(folder)
        tree = docker / "overlay2" / folder / "diff"
        listed = "\n".join(f"{p.relative_to(tree)} {describe(p)}" for p in walk(tree, tree))
        diff = (layer / "diff").read_text()
        found[f"layer {layer.name}"] = f"{diff} {hashlib.sha256(listed.encode()).hexdigest()}"
    return found | {f"folder of no layer {name}": "" for name in folders}


def read_disk(image: Path, folder: Path) -> dict[str, str]:
    """As `list_content`, of a disk image, by a process of its own that mounts it read-only."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-m",
         "tests.ami_provider.disk_content", str(image), str(folder)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    content: dict[str, str] = json.loads(done.stdout)
    return content


if __name__ == "__main__":
    image, folder = sys.argv[1:]
    subprocess.run(["mount", "-t", "ext4", "-o", "ro,noload,loop", image, folder], check=True)
    json.dump(list_content(Path(folder)), sys.stdout)
