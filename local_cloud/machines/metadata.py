"""The instance metadata service (IMDS, both versions): one WSGI app for all machines, told apart
by address.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local_cloud.machines.contract import InstanceMetadata

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: EC2 user guide, "Use the Instance Metadata Service": a token lives 1 s to 6 hours.
_LONGEST_TTL_S = 21600
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed",
}  # fmt: skip
_TOP = ("dynamic", "meta-data", "user-data")


class MetadataService:
    """Answers by source address. `find` gives what is true of the machine at an address just
    now.
    """

    def __init__(self, find: Callable[[str], InstanceMetadata | None]) -> None:
        self._find = find
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, body, headers = self._answer(environ)
        content = body if isinstance(body, bytes) else body.encode()
        start(
            f"{status} {_REASONS[status]}",
            [
                ("Content-Type", "text/plain"),
                ("Content-Length", str(len(content))),
                ("Server", "EC2ws"),
                *headers.items(),
            ],
        )
        return [content]

    def _answer(self, environ: WSGIEnvironment) -> tuple[int, str | bytes, Mapping[str, str]]:
        address, path = environ["REMOTE_ADDR"], environ.get("PATH_INFO", "/")
        known = self._find(address)
        if known is None:
            return 404, "", {}
        if environ["REQUEST_METHOD"] == "PUT":
            return self._give_token(environ, address, path, known.hop_limit)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return 405, "", {"Allow": "GET, HEAD, PUT"}
        token = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN")
        if token is None and known.tokens_required:
            return 401, "", {}
        if token is not None and not self._is_valid(token, address):
            return 401, "", {}
        found = _look_up(path, known)
        return (404, "", {}) if found is None else (200, found, {})

    def _give_token(
        self, environ: WSGIEnvironment, address: str, path: str, hop_limit: int
    ) -> tuple[int, str, Mapping[str, str]]:
        _limit_hops(environ, hop_limit)
        if environ.get("HTTP_X_FORWARDED_FOR"):
            return 403, "", {}
        if path != "/latest/api/token":
            return 404, "", {}
        asked = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "")
        if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= _LONGEST_TTL_S):
            return 400, "", {}
        token = secrets.token_urlsafe(42)
        with self._lock:
            now = time.monotonic()
            self._tokens = {one: kept for one, kept in self._tokens.items() if kept[1] > now}
            self._tokens[token] = (address, now + int(asked))
        return 200, token, {_TTL_HEADER: asked}

    def _is_valid(self, token: str, address: str) -> bool:
        with self._lock:
            owner, ends = self._tokens.get(token, ("", 0.0))
        return owner == address and time.monotonic() < ends


def _limit_hops(environ: Mapping[str, Any], hop_limit: int) -> None:
    """Let the answer to this PUT die after so many hops; only the PUT's answer is limited, as on
    EC2.
    """
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)


def _look_up(path: str, known: InstanceMetadata) -> str | bytes | None:
    """The text at a path of any version, or the listing of a folder; None when there is nothing."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "1.0\nlatest"
    if parts[0] != "latest" and not (len(parts[0]) == 10 and parts[0][:4].isdigit()):
        return None
    inner = "/".join(parts[1:])
    if inner == "user-data":
        return known.user_data
    if inner in known.tree:
        return known.tree[inner]
    if not inner:
        entries = {name for name in _TOP if name != "user-data" or known.user_data is not None}
        return "\n".join(sorted(entries))
    prefix = inner + "/"
    below = [key[len(prefix) :] for key in known.tree if key.startswith(prefix)]
    if not below:
        return None
    folders = {name.partition("/")[0] + "/" for name in below if "/" in name}
    leaves = {name for name in below if "/" not in name and f"{name}/" not in folders}
    return "\n".join(sorted(folders | leaves))
