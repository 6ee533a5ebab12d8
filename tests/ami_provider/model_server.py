"""A web server with models and bad habits, a metadata service, S3 that checks signatures."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS, SECRET, TOKEN = "ASIATESTTESTTESTTEST", "s" * 40, "t" * 100
ROLE = f"""{{
  "Code" : "Success",
  "AccessKeyId" : "{ACCESS}",
  "SecretAccessKey" : "{SECRET}",
  "Token" : "{TOKEN}"
}}"""


@dataclass
class Server:
    """What is served: path -> bytes. `status` answers a path with an error instead; `breaks` is how
    often a path's answer ends in the middle; `ranges` whether it can go on from there."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    breaks: Counter[str] = field(default_factory=Counter)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    ranges: bool = True
    role: bool = True
    region: str = "ap-northeast-2"
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def put(self, path: str, content: bytes) -> str:
        """Serve it; its SHA-256."""
        self.files[path] = content
        return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: _HTTPServer
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._send(200, b"a-token")

    def do_GET(self) -> None:
        served = self.server.served
        path = self.path.partition("?")[0]
        served.requests.append((self.path, self.headers.get("Range", "")))
        if path.startswith("/latest/"):
            return self._metadata(path)
        if path in served.status:
            return self._send(
                served.status[path], served.bodies.get(path, b"no"), served.headers.get(path)
            )
        if path in served.signed and not self._is_signed():
            return self._send(403, b"<Code>SignatureDoesNotMatch</Code>")
        content = served.files.get(path)
        if content is None:
            return self._send(404, b"no")
        return self._content(path, content)

    def _metadata(self, path: str) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
            return self._send(401, b"")
        folder = "/latest/meta-data/iam/security-credentials/"
        if not self.server.served.role or path not in (folder, f"{folder}builder"):
            return self._send(404, b"")
        return self._send(200, b"builder" if path == folder else ROLE.encode())

    def _content(self, path: str, content: bytes) -> None:
        served = self.server.served
        wanted = self.headers.get("Range")
        start, end, status = 0, len(content) - 1, 200
        if wanted and served.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last or end), end), 206
            if start >= len(content):
                return self._send(416, b"")
        body = content[start : end + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.end_headers()
        if served.breaks[path] > 0 and len(body) > 1:
            served.breaks[path] -= 1
            self.wfile.write(body[: max(len(body) // 2, 1)])
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None

    def _is_signed(self) -> bool:
        """Whether the signature is what botocore computes for the same request."""
        given = self.headers.get("Authorization", "")
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest(
            method="GET",
            url=f"http://{self.headers['Host']}{self.path}",
            headers={name: self.headers[name] for name in names if name in self.headers},
        )
        moment = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        auth = S3SigV4Auth(Credentials(ACCESS, SECRET, TOKEN), "s3", self.server.served.region)
        canonical = auth.canonical_request(request)
        expected = auth.signature(auth.string_to_sign(request, canonical), request)
        return (
            f"Signature={expected}" in given
            and "x-amz-security-token" in names
            and self.headers["X-Amz-Security-Token"] == TOKEN
        )

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    served: Server


@contextmanager
def serve() -> Iterator[Server]:
    """The server on a free port of the loopback address, until the block ends."""
    server = _HTTPServer(("127.0.0.1", 0), _Handler)
    server.served = Server(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
