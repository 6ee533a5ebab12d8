"""CopyObject: the bytes are copied on disk, all else by moto."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from local_cloud.objects.checksums import start_checksum
from local_cloud.objects.files import ObjectFiles, file_name_of
from local_cloud.objects.place import Answer, Place, set_header

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

EMPTY = hashlib.md5(b"", usedforsecurity=False).hexdigest()


def source_of(request: Any) -> tuple[str, str, str | None]:
    """Bucket, key and version that `x-amz-copy-source` names."""
    parts = urlsplit(request.headers["x-amz-copy-source"])
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    return bucket, key, parse_qs(parts.query).get("versionId", [None])[0]


def copy(cloud: Cloud, files: ObjectFiles, request: Any, at: Place) -> Answer:
    """A copy has one checksum of the whole object, also when its source came in parts."""
    bucket, key, version = source_of(request)
    with cloud.moto.lock:
        source = None
        if bucket in at.backend.buckets:
            source = at.backend.get_object(bucket, key, version_id=version)
        name = file_name_of(source)
        if source is None or name is None:
            return at.forward(request.headers, b"")
        with files.without_reading():
            status, headers, body = at.forward(request.headers, b"")
        if status != 200:
            return status, headers, body
        path = files.join([files.path(name)])
        algorithm = request.headers.get("x-amz-checksum-algorithm") or source.checksum_algorithm
        etag, checksum = _sums(path, source, algorithm)
        target = at.get_key()
        files.attach(target, path, size=source.contentsize, etag=etag)
        target.multipart = None
        target.checksum_algorithm, target.checksum_value = algorithm, checksum
        target.checksum_type = "FULL_OBJECT" if checksum else None
        target.checksum_parts = None
    body = body.replace(EMPTY.encode(), etag.encode())
    set_header(headers, "Content-Length", str(len(body)))
    return status, headers, body


def _sums(path: Path, source: Any, algorithm: str | None) -> tuple[str, str | None]:
    """ETag and checksum of a copy: the source's own where they are of the whole object."""
    etag = source.etag.strip('"')
    whole = source.checksum_algorithm == algorithm and source.checksum_type == "FULL_OBJECT"
    if "-" not in etag and (whole or not algorithm):
        return etag, source.checksum_value if algorithm else None
    md5 = hashlib.md5(usedforsecurity=False)
    checksum = start_checksum(algorithm) if algorithm else None
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            md5.update(piece)
            if checksum is not None:
                checksum.update(piece)
    return md5.hexdigest(), base64.b64encode(checksum.digest()).decode() if checksum else None
