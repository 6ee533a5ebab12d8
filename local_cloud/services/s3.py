"""S3: opens the door that streams objects' bytes, and puts objects in from inside the cloud."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from moto.core.request import Request

from local_cloud.errors import AwsError
from local_cloud.lifecycle import at_start
from local_cloud.objects.door import Objects
from local_cloud.objects.files import ObjectFiles, save_keys_by_name

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud


@at_start
def open_objects(cloud: Cloud) -> None:
    """Objects' files are kept with the state."""
    save_keys_by_name()
    cloud.objects = Objects(cloud, ObjectFiles(cloud.root / "s3"))
    cloud.objects.forget_lost()


class _Stream(io.RawIOBase):
    """A body to read, from pieces that are made while it is."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        given = self._rest[: len(buffer)]
        buffer[: len(given)] = given
        self._rest = self._rest[len(given) :]
        return len(given)


def put_object(
    cloud: Cloud, bucket: str, key: str, pieces: Iterable[bytes], *, checksum: str | None = None
) -> None:
    """Store an object from inside the cloud, without a call in the log; streamed to disk.

    `checksum` is one of S3's algorithms, such as SHA256. Raises AwsError.
    """
    headers = {"x-amz-sdk-checksum-algorithm": checksum} if checksum else {}
    _answer(cloud, "PutObject", f"/{bucket}/{quote(key)}", pieces, headers)


def put_object_in_parts(
    cloud: Cloud, bucket: str, key: str, parts: Iterable[Iterable[bytes]], *, checksum: str
) -> None:
    """Store an object by a multipart upload, which leaves a checksum of its parts' checksums.

    Every part but the last has 5 MiB or more. Raises AwsError.
    """
    upload = cloud.moto.invoke(
        "s3",
        "CreateMultipartUpload",
        {"Bucket": bucket, "Key": key, "ChecksumAlgorithm": checksum},
        region=cloud.region,
        account=cloud.account,
    )["UploadId"]
    path, named = f"/{bucket}/{quote(key)}?uploadId={quote(upload)}", ""
    for number, pieces in enumerate(parts, start=1):
        headers = _answer(cloud, "UploadPart", f"{path}&partNumber={number}", pieces, {})
        named += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    _answer(cloud, "CompleteMultipartUpload", path, [body], {}, method="POST")


def _answer(
    cloud: Cloud,
    action: str,
    path: str,
    pieces: Iterable[bytes],
    headers: dict[str, str],
    *,
    method: str = "PUT",
) -> dict[str, str]:
    request = Request.from_values(path=path, method=method, headers=headers)
    request.environ["wsgi.input"] = io.BufferedReader(_Stream(pieces), 1024 * 1024)
    request.environ["wsgi.input_terminated"] = True
    request.environ["RAW_URI"] = path
    request.environ.pop("CONTENT_LENGTH", None)
    objects: Objects = cloud.objects
    status, answered, body = objects.answer(
        request, action, access_key="local", region=cloud.region
    )
    if status != 200:
        raise AwsError("InternalError", f"{action} {path} answered {status}: {body!r}")
    return answered
