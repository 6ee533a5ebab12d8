"""Push the sample image to a registry over its own protocol, as `docker push` does."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from local_cloud.sample_image import Blob, canonical, make_image


class PushError(Exception):
    """The registry refused; the message has its own words."""


class Remote:
    """One repository of a registry at an HTTP(S) endpoint, entered with ECR's token."""

    def __init__(self, endpoint: str, repository: str, authorization_token: str) -> None:
        self._url = urlsplit(endpoint)
        self._base = f"/v2/{repository}"
        self._login = {"Authorization": f"Basic {authorization_token}"}

    def store(self, pieces: Iterator[bytes]) -> Blob:
        """Upload a blob while it is made. Raises PushError."""
        started = self._call("POST", f"{self._base}/blobs/uploads/")
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece

        sent = self._call("PATCH", started["Location"], body=counted())
        name = f"sha256:{digest.hexdigest()}"
        self._call("PUT", f"{sent['Location']}?{urlencode({'digest': name})}")
        return Blob(digest=name, size=size)

    def tag(self, tag: str, manifest: dict[str, Any]) -> str:
        """Put the manifest under the tag; gives its digest. Raises PushError."""
        headers = {"Content-Type": manifest["mediaType"]}
        path = f"{self._base}/manifests/{tag}"
        return self._call("PUT", path, body=canonical(manifest), headers=headers)[
            "Docker-Content-Digest"
        ]

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPMessage:
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._url.netloc, timeout=600)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(
                method,
                path,
                body=body,
                headers={**self._login, **(headers or {})},
                encode_chunked=chunked,
            )
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 300:
                raise PushError(f"{method} {path}: {answer.status} {said.decode(errors='replace')}")
            return answer.headers
        finally:
            connection.close()


def push_image(
    ecr: Any, endpoint: str, *, repository: str, tag: str, note: str, mib: int, oci: bool = False
) -> str:
    """Make the sample image with this note, push it, and give its digest.

    `ecr` is a boto3 client; `mib` the framework's size before compression. Raises PushError.
    """
    login = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    remote = Remote(endpoint, repository, login)
    return remote.tag(tag, make_image(remote.store, bulk_mib=mib, note=note, oci=oci))
