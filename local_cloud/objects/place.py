"""The bucket and key that a request is about, and moto's view and answer of them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local_cloud.errors import AwsError
from local_cloud.objects.bodies import Received

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

Answer = tuple[int, dict[str, str], bytes | Iterable[bytes]]
#: Headers about how a body travelled; moto gets an empty body in its place.
OF_THE_BODY = {
    "authorization", "content-length", "content-md5", "expect", "host", "range",
    "transfer-encoding", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm",
}  # fmt: skip
#: What moto takes for an object's own headers, and AWS does not show.
NOT_SHOWN = {
    "content-md5", "content-range", "x-amz-checksum-algorithm", "x-amz-content-sha256",
    "x-amz-sdk-checksum-algorithm",
}  # fmt: skip


class Place:
    """The bucket and key a request is about, and moto's view of them."""

    def __init__(self, cloud: Cloud, request: Any, *, account: str, region: str) -> None:
        self._cloud = cloud
        self._method = request.method
        self._account = account
        self._region = region
        self._path = request.raw_path
        self._query = request.query_string.decode()
        bucket, _, key = self._path.lstrip("/").partition("/")
        self.bucket, self.key = unquote(bucket), unquote(key) or None
        self.backend = cloud.moto.backend("s3", region="aws", account=account)

    def forward(
        self, headers: Any, body: bytes, *, method: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """moto's answer. Policies were judged already: moto's own look at them is switched off."""
        sent = {name: value for name, value in headers.items() if name.lower() != "host"}
        sent.setdefault(
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential=local/20260101/{self._region}/s3/aws4_request, "
            "SignedHeaders=host, Signature=0",
        )
        sent["x-moto-account-id"] = self._account
        url = f"https://s3.{self._region}.amazonaws.com{self._path}"
        url += f"?{self._query}" if self._query else ""
        with self._cloud.moto.lock, self._without_policy():
            return self._cloud.moto.pass_through(method or self._method, url, sent, body)

    def find_key(self, version: str | None = None) -> Any:
        if self.bucket not in self.backend.buckets or not self.key:
            return None
        return self.backend.get_object(self.bucket, self.key, version_id=version)

    def find_upload(self, upload_id: str) -> Any:
        bucket = self.backend.buckets.get(self.bucket)
        return bucket.multiparts.get(upload_id, None) if bucket is not None else None

    def get_key(self) -> Any:
        key = self.find_key()
        if key is None:
            raise AwsError("InternalError", f"{self.key} was not stored", status=500)
        return key

    def is_public(self) -> bool:
        with self._cloud.moto.lock:
            key = self.find_key()
            return bool(key is not None and key.acl and key.acl.public_read)

    @contextlib.contextmanager
    def _without_policy(self) -> Iterator[None]:
        bucket = self.backend.buckets.get(self.bucket) if self.key else None
        if bucket is None:
            yield
            return
        policy, bucket.policy = bucket.policy, None
        try:
            yield
        finally:
            bucket.policy = policy


def headers_for(request: Any, received: Received) -> dict[str, str]:
    """The request's headers for moto, with an empty body and the checksum of the real one."""
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in OF_THE_BODY and not name.lower().startswith("x-amz-checksum-")
    }
    headers["Content-Length"] = "0"
    headers["Content-MD5"] = base64.b64encode(hashlib.md5(b"").digest()).decode()  # noqa: S324
    if received.algorithm and received.checksum:
        headers["x-amz-sdk-checksum-algorithm"] = received.algorithm
        headers[f"x-amz-checksum-{received.algorithm.lower()}"] = received.checksum
    return headers


def only_shown(headers: dict[str, str]) -> dict[str, str]:
    """Headers of an answer without those that only moto gives."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in NOT_SHOWN
        and not (name.lower() == "x-amz-version-id" and value == "null")
    }


def set_header(headers: dict[str, str], name: str, value: str) -> None:
    for other in [other for other in headers if other.lower() == name.lower()]:
        del headers[other]
    headers[name] = value
