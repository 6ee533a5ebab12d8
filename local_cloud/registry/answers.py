"""HTTP answers of a registry: errors as OCI and ECR word them, and blobs with ranges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response

from local_cloud.errors import AwsError
from local_cloud.registry.blobs import CHUNK

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}

#: ECR's own errors, as they come out of the distribution protocol: its code and HTTP status.
OCI_ERRORS = {
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
    "ImageNotFoundException": ("MANIFEST_UNKNOWN", 404),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "InvalidParameterException": ("MANIFEST_INVALID", 400),
    "ImageReferencedByManifestList": ("DENIED", 409),
}


class OciError(Exception):
    """An error of the distribution protocol, with its code, its HTTP status and extra headers."""

    def __init__(
        self, code: str, message: str, status: int, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}


def error_of(problem: AwsError) -> OciError:
    """The same error, as a client of the distribution protocol gets it."""
    code, status = OCI_ERRORS.get(problem.code, ("UNSUPPORTED", 405))
    return OciError(code, problem.message, status)


def answer_error(error: OciError) -> Response:
    body = {"errors": [{"code": error.code, "message": error.message}]}
    return answer_json(body, status=error.status, headers=error.headers)


def answer_json(
    body: Any,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    content_type: str = "application/json; charset=utf-8",
) -> Response:
    return Response(
        json.dumps(body), status, headers={**VERSION, **(headers or {})}, content_type=content_type
    )


def answer_empty(status: int, headers: dict[str, str] | None = None) -> Response:
    response = Response(status=status, headers={**VERSION, **(headers or {})})
    response.content_length = 0
    return response


def answer_file(request: Request, path: Path, *, headers: dict[str, str]) -> Response:
    """A file, or the range of it that is asked for, in pieces of 1 MiB."""
    length = path.stat().st_size
    start, stop, status = 0, length, 200
    wanted = request.range
    if wanted is not None and wanted.units == "bytes":
        found = wanted.range_for_length(length)
        if found is None:
            raise RequestedRangeNotSatisfiable(length)
        start, stop = int(found[0]), int(found[1] if found[1] is not None else length)
        status = 206
    response = Response(
        [] if request.method == "HEAD" else pieces_of(path.open("rb"), start, stop),
        status,
        headers={**VERSION, "Accept-Ranges": "bytes", **headers},
        content_type="application/octet-stream",
        direct_passthrough=True,
    )
    response.content_length = stop - start
    if status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    return response


def pieces_of(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """An open file's bytes from `start` up to `stop`, 1 MiB at a time; closes it at the end."""
    with file:
        file.seek(start)
        left = stop - start
        while left > 0:
            piece = file.read(min(CHUNK, left))
            if not piece:
                return
            left -= len(piece)
            yield piece
