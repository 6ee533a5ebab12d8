"""HTTP servers on sockets that were made elsewhere (inside the cloud's network), plain or with
TLS.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from local_cloud.machines.pacing import PIECE, Connection, Link, PacedReader, PacedWriter

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
        self._paced: Connection | None = None
        assert isinstance(self.server, _Server)
        if self.server.link is not None:
            self._paced = self.server.link.connect(self.client_address[0])
            raw = self.connection.makefile("rb", buffering=0)
            self.rfile = io.BufferedReader(PacedReader(raw, self._paced), PIECE)
            self.wfile = PacedWriter(self.wfile, self._paced)
            self._paced.round_trips(1 if self.server.ssl_context is None else 2)

    def run_wsgi(self) -> None:
        if self._paced is not None:
            self._paced.round_trips(1)
        super().run_wsgi()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Requests are logged by the app, as calls."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    link: Link | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or shakes hands badly is its own affair."""


class HttpServer:
    """Serves a WSGI app on a listening socket, each connection in a thread of its own, until
    closed.
    """

    def __init__(
        self,
        app: WSGIApplication,
        listening: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        link: Link | None = None,
    ) -> None:
        """With a `link`, every byte of a connection waits for its turn on the machine's."""
        host, port = listening.getsockname()[:2]
        self._server = _Server(host, port, app, handler=_Handler, fd=listening.fileno())
        self._server.ssl_context = tls
        self._server.link = link
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
