"""The two ways to name a bucket: in the host or in the path; here it is always in the path."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from local_cloud.errors import AwsError

_AWS = re.compile(
    r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.(?P<service>s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com)(?P<port>:\d+)?"
)
_LOOPBACK = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.(?P<service>localhost)(?P<port>:\d+)?")
#: S3 user guide, "General purpose bucket naming rules".
_NAME = re.compile(r"(?!xn--|sthree-|.*\.\.|\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NO_BUCKETS = ("s3-control", "s3-accesspoint")


def path_style(environ: dict[str, Any]) -> dict[str, Any]:
    """The same WSGI request with the bucket moved from the Host header into the path."""
    host = environ.get("HTTP_HOST", "")
    found = _AWS.fullmatch(host) or _LOOPBACK.fullmatch(host)
    if found is None or found["bucket"] == "s3" or found["bucket"].endswith(_NO_BUCKETS):
        return environ
    bucket = found["bucket"]
    moved = dict(environ)
    moved["HTTP_HOST"] = found["service"] + (found["port"] or "")
    moved["PATH_INFO"] = f"/{bucket}{environ.get('PATH_INFO', '')}"
    for name in ("RAW_URI", "REQUEST_URI"):
        if name in environ:
            raw = environ[name]
            if "://" in raw.split("?", 1)[0]:
                raw = "/" + raw.split("://", 1)[1].partition("/")[2]
            moved[name] = f"/{quote(bucket)}{raw}"
    return moved


def is_for_objects(request: Any) -> bool:
    """Whether this is an S3 request, whose body is not to be read into memory."""
    signature = request.headers.get("Authorization", "") or request.args.get("X-Amz-Credential", "")
    if signature:
        return "/s3/aws4_request" in signature
    if "AWSAccessKeyId" in request.args and "Expires" in request.args:  # signed as S3 used to
        return True
    return bool(request.host.startswith("s3.") or request.host.startswith("s3-"))


def check_bucket_name(name: str) -> None:
    """Raises AwsError for a name that no new bucket may have."""
    if not _NAME.fullmatch(name):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.")
