"""Uploads in parts: which parts make the object, and its ETag and checksum of checksums."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from local_cloud.errors import AwsError
from local_cloud.objects.checksums import checksum_of, start_checksum

#: S3 user guide, "Amazon S3 multipart upload limits".
LEAST_PART_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the finished object is known by."""

    etag: str
    algorithm: str | None
    kind: str | None
    checksum: str | None
    count: int

    @property
    def shown(self) -> str | None:
        """The checksum as S3 answers it: a composite one ends in the number of parts."""
        return f"{self.checksum}-{self.count}" if self.kind == "COMPOSITE" else self.checksum

    def as_moto(self) -> tuple[str | None, str | None, int] | None:
        return (self.kind, self.checksum, self.count) if self.checksum else None


def no_such_upload() -> AwsError:
    return AwsError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have "
        "been aborted or completed.",
        status=404,
    )


def chosen_parts(upload: Any, body: bytes) -> list[Any]:
    """The parts that the client names, in order.

    Raises AwsError: MalformedXML, InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest.
    """
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - a request to a server on loopback
        named = [
            (int(_text(part, "PartNumber") or 0), (_text(part, "ETag") or "").strip('"'), part)
            for part in root
            if part.tag.endswith("Part")
        ]
    except (ElementTree.ParseError, ValueError):
        named = []
    if not named:
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published "
            "schema",
        )
    numbers = [number for number, _, _ in named]
    if sorted(set(numbers)) != numbers:
        raise AwsError("InvalidPartOrder", "The list of parts was not in ascending order.")
    parts: list[Any] = []
    for number, etag, element in named:
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag or not _same_checksum(part, element):
            raise AwsError(
                "InvalidPart",
                "One or more of the specified parts could not be found. The part may not have "
                "been uploaded, or the specified entity tag may not match the part's entity tag.",
            )
        if parts and parts[-1].contentsize < LEAST_PART_BYTES:
            raise AwsError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed object size.",
            )
        parts.append(part)
    return parts


def result_of(upload: Any, parts: list[Any], path: Path) -> Result:
    """ETag and checksum of the object that these parts make; `path` holds its content."""
    md5s = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    etag = f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"
    algorithm = upload.metadata.get("x-amz-checksum-algorithm")
    if not algorithm:
        return Result(etag=etag, algorithm=None, kind=None, checksum=None, count=len(parts))
    kind = upload.metadata.get("x-amz-checksum-type") or (
        "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    )
    if kind == "COMPOSITE":
        checksum = checksum_of(
            algorithm, b"".join(base64.b64decode(part.checksum_value) for part in parts)
        )
    else:
        whole = start_checksum(algorithm)
        with path.open("rb") as file:
            while piece := file.read(1024 * 1024):
                whole.update(piece)
        checksum = base64.b64encode(whole.digest()).decode()
    return Result(etag=etag, algorithm=algorithm, kind=kind, checksum=checksum, count=len(parts))


def check_promise(headers: Any, result: Result) -> None:
    """Raises AwsError BadDigest if the client expects another checksum of the whole object."""
    if result.algorithm is None or result.checksum is None:
        return
    promised = headers.get(f"x-amz-checksum-{result.algorithm.lower()}")
    if promised and promised.split("-")[0] != result.checksum:
        raise AwsError(
            "BadDigest",
            f"The {result.algorithm} you specified did not match the calculated checksum.",
        )


def with_checksum(body: bytes, result: Result) -> bytes:
    """The answer to CompleteMultipartUpload, with the checksum that moto leaves out."""
    if result.algorithm is None or result.shown is None:
        return body
    name = f"Checksum{result.algorithm}"
    more = f"<{name}>{escape(result.shown)}</{name}><ChecksumType>{result.kind}</ChecksumType>"
    end = b"</CompleteMultipartUploadResult>"
    return body.replace(end, more.encode() + end)


def part_range(key: Any, number: str | None) -> tuple[int, int] | None:
    """Where part `number` of an object lies in it: its first byte and the one after its last."""
    if number is None or key.multipart is None:
        return None
    wanted, start = int(number), 0
    for each in key.multipart.partlist:
        size = key.multipart.parts[each].contentsize
        if each == wanted:
            return start, start + size
        start += size
    raise AwsError("InvalidPartNumber", "The requested partnumber is not satisfiable", status=416)


def _text(part: ElementTree.Element, name: str) -> str | None:
    for child in part:
        if child.tag.split("}")[-1] == name:
            return child.text
    return None


def _same_checksum(part: Any, element: ElementTree.Element) -> bool:
    for child in element:
        if child.tag.split("}")[-1].startswith("Checksum") and child.text != part.checksum_value:
            return False
    return True
