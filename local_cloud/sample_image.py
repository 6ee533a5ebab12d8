"""The sample container image: busybox, a "framework" of any size, and an app that reads models."""

from __future__ import annotations

import functools
import json
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.registry.layers import Bulk, Entry, File, Folder, Layer, Link
from local_cloud.registry.records import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_MANIFEST,
)

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
#: Docker is slow to unpack one big layer, so it is split (AWS: keep layers below 2 GB).
BULK_LAYER_MIB = 1024
BULK_FILE_MIB = 64
ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
NO_BUSYBOX = (
    "There is no static busybox on this machine: the sample image can be pulled, but not run. "
    "Install the Debian package busybox-static (or put a static busybox on PATH)."
)

#: The app: lists the models it is given with their checksums, as a batch job would read them.
APP = """#!/bin/sh
# Reads every model below $MODELS_DIR and prints its checksum; fails if there is none to read and
# REQUIRE_MODELS is set, or if one cannot be read.
set -eu
folder=${MODELS_DIR:-/opt/ml/models}
echo "batch-processor: $(cat /app/version)"
if [ -z "$(find "$folder" -type f 2>/dev/null)" ]; then
    echo "batch-processor: no models in $folder"
    [ -z "${REQUIRE_MODELS:-}" ] || exit 3
    exit 0
fi
find "$folder" -type f | sort | while read -r file; do
    sum=$(sha256sum "$file")
    echo "model ${file#"$folder"/} $(stat -c %s "$file") bytes sha256:${sum%% *}"
done
echo "batch-processor: done"
"""


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob that was stored."""

    digest: str
    size: int


#: Takes a blob's pieces, stores them, and says what they were.
Store = Callable[[Iterator[bytes]], Blob]


def make_image(
    store: Store, *, bulk_mib: int = 8, note: str = "1", oci: bool = False
) -> dict[str, Any]:
    """Make the image's layers and config, hand each to `store`, and give the manifest.

    `bulk_mib` is the size of the framework before compression; `note` ends up in the app's layer
    (`/app/version`), so another note is another digest. Never more than a few MiB are in memory.
    """
    entries = (_base(), *_framework(bulk_mib), _app(note))
    return make_manifest(store, [store_layer(store, layer) for layer in entries], note, oci=oci)


def make_layered_image(
    store: Store, stored: dict[int, StoredLayer], *, seeds: list[int], mib: int, note: str
) -> dict[str, Any]:
    """As `make_image`, with a layer of `mib` for each seed between base and app.

    `stored` keeps what is stored already, by seed: images that share seeds share layers, as far
    as Docker does: from the first one on that differs all are other ones.
    """
    layers = [store_layer(store, _base())]
    for seed in seeds:
        if seed not in stored:
            file = Bulk(path=f"opt/framework/part-{seed:04}.bin", mib=mib, seed=seed)
            stored[seed] = store_layer(store, (file,))
        layers.append(stored[seed])
    return make_manifest(store, [*layers, store_layer(store, _app(note))], note)


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """A layer that was stored, and its tar's digest."""

    blob: Blob
    diff_id: str


def store_layer(store: Store, entries: tuple[Entry, ...]) -> StoredLayer:
    layer = Layer(entries)
    blob = store(layer.pieces())
    return StoredLayer(blob=blob, diff_id=layer.diff_id)


def make_manifest(
    store: Store, layers: list[StoredLayer], note: str, *, oci: bool = False
) -> dict[str, Any]:
    """The manifest of an image of these layers, the lowest first; its config is stored."""
    diff_ids = [layer.diff_id for layer in layers]
    config = store(iter([canonical(_config(diff_ids, note))]))
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": {
            "mediaType": OCI_CONFIG if oci else DOCKER_CONFIG,
            "size": config.size,
            "digest": config.digest,
        },
        "layers": [
            {
                "mediaType": OCI_LAYER if oci else DOCKER_LAYER,
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
            for layer in layers
        ],
    }


def canonical(document: dict[str, Any]) -> bytes:
    """The bytes of a manifest or config; the same document always gives the same digest."""
    return json.dumps(document, indent=2, sort_keys=True).encode()


def find_busybox() -> Path | None:
    """A busybox that runs without any library, if there is one."""
    for candidate in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox")):
        if candidate and Path(candidate).is_file() and _is_static(Path(candidate)):
            return Path(candidate)
    return None


@functools.cache
def _base() -> tuple[Entry, ...]:
    busybox = find_busybox()
    plain: tuple[Entry, ...] = (
        Folder(path="dev"),
        Folder(path="proc"),
        Folder(path="sys"),
        Folder(path="tmp", mode=0o1777),
        Folder(path="root", mode=0o700),
        File(path="etc/passwd", content=b"root:x:0:0:root:/root:/bin/sh\n"),
        File(path="etc/group", content=b"root:x:0:\n"),
        File(path="etc/os-release", content=b'ID=sample\nPRETTY_NAME="Sample image"\n'),
    )
    if busybox is None:
        return (*plain, File(path="etc/motd", content=NO_BUSYBOX.encode() + b"\n"))
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    applets = sorted(set(listed.stdout.split()) - {"busybox"})
    return (
        *plain,
        File(path="bin/busybox", content=busybox.read_bytes(), mode=0o755),
        *(Link(path=f"bin/{applet}", target="busybox") for applet in applets),
        Link(path="usr/bin", target="../bin"),
    )


def _framework(bulk_mib: int) -> Iterator[tuple[Entry, ...]]:
    left, seed = bulk_mib, 0
    while left > 0:
        entries: list[Entry] = []
        room = min(left, BULK_LAYER_MIB)
        left -= room
        while room > 0:
            size = min(room, BULK_FILE_MIB)
            entries.append(Bulk(path=f"opt/framework/part-{seed:04}.bin", mib=size, seed=seed))
            room -= size
            seed += 1
        yield tuple(entries)


def _app(note: str) -> tuple[Entry, ...]:
    return (
        File(path="app/batch-processor", content=APP.encode(), mode=0o755),
        File(path="app/version", content=note.encode() + b"\n"),
    )


def _config(diff_ids: list[str], note: str) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin:/usr/bin:/app"],
            "Cmd": ["/app/batch-processor"],
            "WorkingDir": "/",
            "Labels": {"note": note},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": f"layer {number}"}
            for number in range(len(diff_ids))
        ],
    }


def _is_static(path: Path) -> bool:
    """Whether an ELF file asks for no dynamic loader (it has no PT_INTERP segment)."""
    with path.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return False
        offset = struct.unpack_from("<Q", head, 32)[0]
        entry_size, count = struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        table = file.read(entry_size * count)
    kinds = [struct.unpack_from("<I", table, entry_size * n)[0] for n in range(count)]
    return 3 not in kinds
