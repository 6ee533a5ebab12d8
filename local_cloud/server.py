"""The plain HTTP server on loopback that clients on this host use."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


class QuietHandler(WSGIRequestHandler):
    """HTTP/1.1 without a log line for each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the call log has it."""
        del type, message, args


class Server:
    """Binds at once, answers after `start`. A port that it cannot have is replaced."""

    def __init__(self, app: Any, *, port: int, say: Callable[[str], None]) -> None:
        try:
            self._server = _bind(app, port)
        except OSError as error:
            self._server = _bind(app, 0)
            why = "is in use" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            say(f"Port {port} {why}; using {self._server.port} instead.")
        self.port = int(self._server.port)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True,
            name="front",
        )  # fmt: skip
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections; those that are there are served on. May be called again."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _bind(app: Any, port: int) -> Any:
    """Bind the port ourselves: werkzeug ends the process when it is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
        return make_server(
            "127.0.0.1", port, app, threaded=True, request_handler=QuietHandler,
            fd=listening.fileno(),
        )  # fmt: skip
