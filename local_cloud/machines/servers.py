"""HTTP servers on sockets that were made elsewhere (inside the cloud's network), plain or with
TLS.
"""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_HANDSHAKE_S = 15.0


class _Handler(WSGIRequestHandler):
    """Keeps connections open, says nothing, and shakes hands in the connection's own thread."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if self.server.ssl_context is not None:
            # Not in the accepting thread, where one silent client would hold up all the others.
            self.request.settimeout(_HANDSHAKE_S)
            self.request = self.server.ssl_context.wrap_socket(self.request, server_side=True)
            self.request.settimeout(None)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Requests are logged by the app, as calls."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or shakes hands badly is its own affair."""


class HttpServer:
    """Serves a WSGI app on a listening socket, each connection in a thread of its own, until
    closed.
    """

    def __init__(
        self, app: WSGIApplication, listening: socket.socket, *, tls: ssl.SSLContext | None = None
    ) -> None:
        host, port = listening.getsockname()[:2]
        self._server = _Server(host, port, app, handler=_Handler, fd=listening.fileno())
        self._server.ssl_context = tls
        listening.close()  # the server has a duplicate
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.2},
            name=f"http-{port}",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns when the accepting thread has ended."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
