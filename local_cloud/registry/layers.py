"""Image layers made without a container engine: reproducible tar.gz streams of any size."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIB = 1024 * 1024
#: The time stamp of every file: 2026-01-01 00:00 UTC.
MADE_AT = 1767225600
#: How many different 1 MiB blocks bulk files are made of.
BLOCKS = 32
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file with this content."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """A file of whole MiB whose content is a function of `seed`; compresses about 2 to 1."""

    path: str
    mib: int
    seed: int
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An empty folder."""

    path: str
    mode: int = 0o755


Entry = File | Bulk | Link | Folder


class Layer:
    """A layer's bytes, made while they are read; once they are, the tar's digest is known too.

    The same entries give the same bytes on every run (with the same zlib).
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)
        self._tar_hash = hashlib.sha256()

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed tar, as an image's config names it. After `pieces`."""
        return "sha256:" + self._tar_hash.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """The gzip stream. Each block is compressed for itself, so that a repeated one is ready."""
        self._tar_hash = hashlib.sha256()
        crc = length = 0
        yield _GZIP_HEADER
        for content, compressed in self._tar():
            self._tar_hash.update(content)
            crc = zlib.crc32(content, crc)
            length += len(content)
            yield compressed
        yield _LAST_BLOCK + crc.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")

    def _tar(self) -> Iterator[tuple[bytes, bytes]]:
        for entry in self._entries:
            yield _both(_header(entry))
            if isinstance(entry, Bulk):
                for number in range(entry.mib):
                    yield bulk_block(_block_of(entry.seed, number))
            elif isinstance(entry, File) and entry.content:
                padding = -len(entry.content) % tarfile.BLOCKSIZE
                yield _both(entry.content + bytes(padding))
        yield _both(bytes(2 * tarfile.BLOCKSIZE))


def bulk_content(mib: int, *, seed: int) -> Iterator[bytes]:
    """The content of a bulk file, 1 MiB at a time."""
    for number in range(mib):
        yield bulk_block(_block_of(seed, number))[0]


@functools.cache
def bulk_block(number: int) -> tuple[bytes, bytes]:
    """One MiB of content, and the same compressed.

    Pages of random bytes and of repeated words take turns, as libraries and weights compress.
    """
    noise = hashlib.shake_128(b"local cloud %d" % number).digest(MIB // 2)
    page = 4096
    content = io.BytesIO()
    for start in range(0, len(noise), page):
        content.write(noise[start : start + page])
        words = (b"layer %d weight %d; " % (number, start)) * page
        content.write(words[:page])
    return _both(content.getvalue())


def _block_of(seed: int, number: int) -> int:
    """Which block comes next: each seed has an order of its own."""
    digest = hashlib.sha256(b"%d %d" % (seed, number)).digest()
    return digest[0] % BLOCKS


def _both(content: bytes) -> tuple[bytes, bytes]:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return content, deflate.compress(content) + deflate.flush(zlib.Z_FULL_FLUSH)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path.strip("/"))
    info.mtime = MADE_AT
    if isinstance(entry, Link):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
    elif isinstance(entry, Folder):
        info.type, info.mode = tarfile.DIRTYPE, entry.mode
    else:
        info.mode = entry.mode
        info.size = entry.mib * MIB if isinstance(entry, Bulk) else len(entry.content)
    return info.tobuf(tarfile.GNU_FORMAT)
