"""A request's body as S3 clients send it: plain or in signed chunks, with checksums to hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from local_cloud.errors import AwsError
from local_cloud.objects.checksums import ALGORITHMS, Checksum, start_checksum
from local_cloud.objects.files import Arrived, ObjectFiles

PIECE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Received:
    """A body on disk whose promises held. `checksum` is in base64; None when none was wanted."""

    arrived: Arrived
    algorithm: str | None
    checksum: str | None


def receive(files: ObjectFiles, request: Any, *, also: str | None = None) -> Received:
    """Read the body to disk, and check all that the client promised of it.

    `also` names a checksum to compute when the client names none. Raises AwsError: BadDigest,
    XAmzContentSHA256Mismatch, IncompleteBody, InvalidRequest.
    """
    headers = request.headers
    algorithm = _algorithm(headers) or also
    checksum = start_checksum(algorithm) if algorithm else None
    promised_sha256 = headers.get("x-amz-content-sha256", "")
    payload = hashlib.sha256() if len(promised_sha256) == 64 else None
    every: list[Checksum] = [one for one in (checksum, payload) if one is not None]
    trailers: dict[str, str] = {}
    if _is_chunked(headers):
        pieces = _chunks(request.stream, trailers)
        length = headers.get("x-amz-decoded-content-length")
    else:
        pieces = _plain(request.stream)
        length = headers.get("content-length")
    arrived = files.receive(pieces, every)
    try:
        if length is not None and int(length) != arrived.size:
            raise AwsError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP "
                "header",
            )
        if payload is not None and payload.hexdigest() != promised_sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        _check_md5(headers.get("content-md5"), arrived)
        computed = base64.b64encode(checksum.digest()).decode() if checksum else None
        name = f"x-amz-checksum-{(algorithm or '').lower()}"
        promised = headers.get(name) or trailers.get(name)
        if promised is not None and promised != computed:
            raise AwsError(
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum.",
            )
    except BaseException:
        arrived.path.unlink(missing_ok=True)
        raise
    return Received(arrived=arrived, algorithm=algorithm, checksum=computed)


def _algorithm(headers: Any) -> str | None:
    named = [a for a in ALGORITHMS if f"x-amz-checksum-{a.lower()}" in headers]
    trailer = headers.get("x-amz-trailer", "").lower().removeprefix("x-amz-checksum-").upper()
    asked = headers.get("x-amz-sdk-checksum-algorithm", "").upper()
    algorithm = asked or (named[0] if named else trailer)
    if len(named) > 1:
        raise AwsError("InvalidRequest", "Expecting a single x-amz-checksum- header")
    if algorithm and algorithm not in ALGORITHMS:
        raise AwsError(
            "InvalidRequest",
            f"Checksum algorithm provided is unsupported: {algorithm}. Please try again with any "
            f"of the valid types: [{', '.join(ALGORITHMS)}]",
        )
    return algorithm or None


def _check_md5(promised: str | None, arrived: Arrived) -> None:
    if promised is None:
        return
    try:
        wanted = base64.b64decode(promised, validate=True)
    except binascii.Error:
        wanted = b""
    if len(wanted) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if wanted != arrived.md5:
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _is_chunked(headers: Any) -> bool:
    return "aws-chunked" in headers.get("content-encoding", "") or headers.get(
        "x-amz-content-sha256", ""
    ).startswith("STREAMING-")


def _plain(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _chunks(stream: Any, trailers: dict[str, str]) -> Iterator[bytes]:
    """The bytes inside `SIZE;chunk-signature=…` frames; what follows the last is put in trailers.

    Signatures are not verified: nobody's secret key is known here.
    """
    lines = io.BufferedReader(stream, PIECE)
    try:
        while True:
            line = lines.readline(1024)
            size = int(line.split(b";")[0].strip(), 16)
            if size == 0:
                break
            while size > 0:
                piece = lines.read(min(size, PIECE))
                if not piece:
                    raise AwsError("IncompleteBody", "The request body ended inside a chunk.")
                size -= len(piece)
                yield piece
            lines.readline(1024)
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            if value:
                trailers[name.strip().lower()] = value.strip()
    except ValueError as error:
        raise AwsError("IncompleteBody", f"The request body is not aws-chunked: {error}") from error
