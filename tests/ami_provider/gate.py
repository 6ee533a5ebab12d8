"""A gate before a local cloud: sees each of a bake's AWS calls, and may act around one of them."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

Moment = Literal["before", "after"]
Chosen = Callable[[int, str], bool]
"""Whether this is the call, by its number (from 1) and its action."""

OURS = "baked-ami"
"""What the provider's calls have in their user agent."""


class Gate:
    """Forwards to the cloud at `endpoint`; clients use `address` as their AWS endpoint.

    `actions` are the provider's calls so far. `act_at` orders something for one of them.
    """

    def __init__(self, endpoint: str) -> None:
        self.actions: list[str] = []
        self._lock = threading.Lock()
        self._chosen: Chosen = lambda _number, _action: False
        self._moment: Moment = "before"
        self._act: Callable[[], None] = lambda: None
        target = urlsplit(endpoint)
        self._target = (str(target.hostname), int(target.port or 80))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._create_handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="gate").start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def act_at(self, chosen: Chosen, moment: Moment, act: Callable[[], None]) -> None:
        """Do it once, before or after the effect of the first call that `chosen` says yes to.

        What is done before the effect and ends the client leaves the call without one. After the
        effect is also where the cloud gave no answer. Order it before the client starts: then none
        of its calls is missed. Calls are counted from now on.
        """
        with self._lock:
            self.actions.clear()
            self._chosen, self._moment, self._act = chosen, moment, act

    def _enter(self, action: str) -> Moment | None:
        """Count one call; when something is to happen around it."""
        with self._lock:
            self.actions.append(action)
            if not self._chosen(len(self.actions), action):
                return None
            self._chosen = lambda _number, _action: False
            return self._moment

    def _create_handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def _forward(self) -> None:
                body = _read_body(self)
                ours = OURS in self.headers.get("User-Agent", "") and not _is_gone(self.connection)
                moment = gate._enter(_name_action(self, body)) if ours else None
                if moment == "before":
                    gate._act()
                    if _is_gone(self.connection):
                        self.close_connection = True  # Whoever asked is dead: nothing happens.
                        return
                found = _ask(gate._target, self, body)
                if moment == "after":
                    gate._act()
                if found is None:
                    self.close_connection = True  # The cloud dropped it: so do we.
                    return
                answer, content = found
                try:
                    self.send_response_only(answer.status, answer.reason)
                    for name, value in answer.getheaders():
                        if name.lower() not in ("transfer-encoding", "content-length"):
                            self.send_header(name, value)
                    length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                    self.send_header("Content-Length", length or str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _forward  # noqa: N815

        return Handler


def _ask(
    target: tuple[str, int], request: BaseHTTPRequestHandler, body: bytes
) -> tuple[http.client.HTTPResponse, bytes] | None:
    """Ask the cloud the same; its answer, or None where it gives none."""
    upstream = http.client.HTTPConnection(*target, timeout=300)
    try:
        upstream.putrequest(
            request.command, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "expect"):
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body)
        answer = upstream.getresponse()
        return answer, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        upstream.close()


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed; a request that waits there is no sign of it."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def _read_body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _name_action(request: BaseHTTPRequestHandler, body: bytes) -> str:
    """The AWS action of a query or JSON call; method and path for the others (S3)."""
    target = request.headers.get("X-Amz-Target", "")
    if target:
        return target.rpartition(".")[2]
    form = parse_qs(body.decode(errors="replace")) if body else {}
    return form.get("Action", [f"{request.command} {request.path}"])[0]
