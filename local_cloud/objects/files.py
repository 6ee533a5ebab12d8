"""Where objects' bytes lie: one file each; moto's keys hold its name, also in the saved state."""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from local_cloud.objects.checksums import Checksum


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A body that is on disk now, with what was computed while it came."""

    path: Path
    size: int
    md5: bytes


class ObjectFiles:
    """A folder of object files. moto's backends are the process's, and so is the folder in use."""

    in_use: ObjectFiles | None = None

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._arriving = folder / "arriving"
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir(parents=True)
        self._objects.mkdir(parents=True, exist_ok=True)
        self.unread = threading.local()
        ObjectFiles.in_use = self

    def receive(self, pieces: Iterable[bytes], checksums: Iterable[Checksum] = ()) -> Arrived:
        """Write the pieces to a file of their own, and give them to the checksums too."""
        path = self._arriving / uuid.uuid4().hex
        md5 = hashlib.md5(usedforsecurity=False)
        every = [md5, *checksums]
        size = 0
        try:
            with path.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                    size += len(piece)
                    for checksum in every:
                        checksum.update(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Arrived(path=path, size=size, md5=md5.digest())

    def join(self, parts: Iterable[Path]) -> Path:
        """A new file with the content of these, copied inside the kernel where it can."""
        path = self._arriving / uuid.uuid4().hex
        with path.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    _copy(source, target, part.stat().st_size)
        return path

    def attach(self, key: Any, path: Path, *, size: int, etag: str) -> None:
        """Make this file the content of moto's key. Hold moto's lock."""
        name = path.name
        path.replace(self._objects / name)
        key._value_buffer.close()
        key._value_buffer = FileBuffer(name)
        key.contentsize = size
        key._etag = etag

    def path(self, name: str) -> Path:
        return self._objects / name

    @contextlib.contextmanager
    def without_reading(self) -> Iterator[None]:
        """In this thread, moto reads no object's bytes meanwhile: it gets none."""
        self.unread.on = True
        try:
            yield
        finally:
            self.unread.on = False

    def sweep(self, used: set[str]) -> None:
        """Remove the files of objects that are no more. Hold moto's lock."""
        for path in self._objects.iterdir():
            if path.name not in used:
                path.unlink(missing_ok=True)


class FileBuffer:
    """What a key of moto's reads its content from, instead of a buffer in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._position = 0

    @property
    def path(self) -> Path:
        files = ObjectFiles.in_use
        assert files is not None
        return files.path(self.name)

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int = -1) -> bytes:
        files = ObjectFiles.in_use
        if files is not None and getattr(files.unread, "on", False):
            return b""
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing is open. The file goes with the next sweep: a saved state may still name it."""


def keys_of(backend: Any) -> Iterator[Any]:
    """Every key that has content in moto's S3 backend: all versions, and parts of open uploads."""
    for bucket in backend.buckets.values():
        for _, versions in bucket.keys.iterlists():
            yield from (key for key in versions if hasattr(key, "_value_buffer"))
        for upload in bucket.multiparts.values():
            yield from upload.parts.values()


def forget_lost(backend: Any) -> None:
    """Drop the objects whose file is gone: they were deleted after the state was last saved."""
    for bucket in backend.buckets.values():
        for name, versions in list(bucket.keys.iterlists()):
            kept = [key for key in versions if not _is_lost(key)]
            if len(kept) != len(versions):
                bucket.keys.setlist(name, kept)
                if not kept:
                    bucket.keys.pop(name)


def file_name_of(key: Any) -> str | None:
    """The name of the file with this key's content; None while it is in memory."""
    buffer = getattr(key, "_value_buffer", None)
    return buffer.name if isinstance(buffer, FileBuffer) else None


def _is_lost(key: Any) -> bool:
    buffer = getattr(key, "_value_buffer", None)
    return isinstance(buffer, FileBuffer) and not buffer.path.exists()


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Inside the kernel where it can, which takes no room on file systems that share blocks."""
    target.flush()
    try:
        while size > 0:
            copied = os.copy_file_range(source.fileno(), target.fileno(), size)
            if copied == 0:
                break
            size -= copied
    except (AttributeError, OSError):  # not Linux, or a file system that cannot
        target.seek(0, os.SEEK_END)
        source.seek(os.fstat(source.fileno()).st_size - size)
        shutil.copyfileobj(source, target, 1024 * 1024)


def save_keys_by_name() -> None:
    """Teach pickle that a key with a file is saved without its content."""
    from moto.s3.models import FakeKey

    copyreg.pickle(FakeKey, _reduce)


def _reduce(key: Any) -> Any:
    name = file_name_of(key)
    if name is None:
        return key.__reduce_ex__(2)
    state = {k: v for k, v in key.__dict__.items() if k not in ("_value_buffer", "lock")}
    return _restore, (name, state)  # in this form `copy` takes it too, as it must


def _restore(name: str, state: dict[str, Any]) -> Any:
    from moto.s3.models import FakeKey

    key = FakeKey.__new__(FakeKey)
    key._value_buffer = FileBuffer(name)
    key.lock = threading.Lock()
    key.__dict__.update(state)
    return key
