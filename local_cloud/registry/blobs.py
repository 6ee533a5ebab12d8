"""Blobs on disk by their SHA-256, and uploads that become blobs; never whole in memory."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
CHUNK = 1024 * 1024


def digest_of(content: bytes) -> str:
    """The name of these bytes in a registry: `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class DigestMismatchError(Exception):
    """The bytes that arrived are not those that were promised."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, received {actual}")
        self.expected = expected
        self.actual = actual


class Upload:
    """A blob that is still arriving, in order. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self.id = path.name
        self.size = 0
        #: How many bytes each `append` brought.
        self.parts: list[int] = []
        self.lock = threading.Lock()
        self._path = path
        self._hash = hashlib.sha256()
        path.touch()

    def append(self, chunks: Iterable[bytes]) -> None:
        """Add bytes at the end. An exception while reading them keeps what has arrived so far."""
        before = self.size
        with self._path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                self._hash.update(chunk)
                self.size += len(chunk)
        self.parts.append(self.size - before)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def move_to(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)


class BlobStore:
    """Blobs shared by all repositories; who may see which is the catalogue's business.

    Uploads do not outlive the process: what an earlier one left half-done is removed at start.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self._arriving = folder / "uploads"
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir(parents=True)
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._uploads: dict[str, Upload] = {}

    def find(self, digest: str) -> Path | None:
        """Where this blob's bytes are, if it is here."""
        if DIGEST.fullmatch(digest) is None:
            return None
        path = self._path(digest)
        return path if path.is_file() else None

    def read(self, digest: str) -> bytes:
        """A small blob's bytes (a manifest, a config)."""
        return self._path(digest).read_bytes()

    def size(self, digest: str) -> int:
        return self._path(digest).stat().st_size

    def add(self, content: bytes) -> str:
        """Keep these bytes; gives their digest."""
        upload = self.start_upload()
        upload.append([content])
        return self.finish_upload(upload)

    def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def start_upload(self) -> Upload:
        upload = Upload(self._arriving / str(uuid.uuid4()))
        self._uploads[upload.id] = upload
        return upload

    def find_upload(self, upload_id: str) -> Upload | None:
        return self._uploads.get(upload_id)

    def finish_upload(self, upload: Upload, *, digest: str | None = None) -> str:
        """Turn the upload into a blob; gives its digest.

        Raises DigestMismatchError, and forgets the bytes, if they are not those of `digest`.
        """
        if digest is not None and upload.digest != digest:
            self.cancel_upload(upload)
            raise DigestMismatchError(digest, upload.digest)
        upload.move_to(self._path(upload.digest))
        self._uploads.pop(upload.id, None)
        return upload.digest

    def cancel_upload(self, upload: Upload) -> None:
        self._uploads.pop(upload.id, None)
        upload.delete()

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self._blobs / name[:2] / name
