"""A bucket of many small objects as S3 answers for it, each answer a round trip late.

`python benchmarks/slow_bucket.py OBJECTS MILLISECONDS` serves it in a process of its own, so that
its work slows nobody's client; it prints its address and stays until its input is closed.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 1000
"""Keys in one listing, as S3 has it."""
SIZE = 1_850_000
CHECKSUM = base64.b64encode(hashlib.sha256(b"model").digest()).decode()


class Bucket(BaseHTTPRequestHandler):
    """HEAD of an object, and the listing (version 2)."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        time.sleep(self.server.delay_s)
        self.send_response(200)
        for name, value in (
            ("ETag", '"0123456789abcdef0123456789abcdef"'),
            ("Content-Length", str(SIZE)),
            ("x-amz-checksum-sha256", CHECKSUM),
            ("x-amz-checksum-type", "FULL_OBJECT"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        time.sleep(self.server.delay_s)
        query = parse_qs(urlsplit(self.path).query)
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + PAGE, self.server.objects)
        keys = "".join(f"<Contents><Key>{key_of(at)}</Key></Contents>" for at in range(first, last))
        more = f"<NextContinuationToken>{last}</NextContinuationToken>"
        is_cut = last < self.server.objects
        body = (
            f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>"
            f"{more if is_cut else ''}{keys}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: who measures prints a table."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    objects: int
    delay_s: float


def key_of(at: int) -> str:
    return f"models/{at:05}.pt"


def main(objects: int, delay_ms: float) -> None:
    server = _Server(("127.0.0.1", 0), Bucket)
    server.objects, server.delay_s = objects, delay_ms / 1000
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
