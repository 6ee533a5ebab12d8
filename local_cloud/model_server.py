"""An HTTP server of model files, with the faults that such servers have, on order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from local_cloud.registry.answers import answer_file

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The name that machines reach the server by, on the port of every AWS service (443).
HOST = "models.local-cloud.amazonaws.com"

Kind = Literal[
    "not-found", "forbidden", "truncated", "wrong-bytes", "slow", "no-range", "no-length", "error"
]


@dataclass(frozen=True, kw_only=True)
class ModelFault:
    """What goes wrong for paths that match (a regular expression on the path without its slash).

    `truncated` sends the full length but half the bytes; `wrong-bytes` inverts the first one;
    `slow` holds each connection to `bytes_per_second`; `no-range` always sends the whole file,
    `no-length` too and does not say how long it is; `error` answers 503. `times` limits how often
    it happens; None is for ever.
    """

    kind: Kind
    __pydantic_config__ = ConfigDict(extra="forbid")

    path: str = ".*"
    times: int | None = None
    bytes_per_second: int = 1024 * 1024


_FAULTS = TypeAdapter(list[ModelFault])


class ModelServer:
    """A WSGI application over one folder, whose faults may be changed at any time.

    From another process: PUT a JSON list of faults, as keywords of ModelFault, to `/_faults`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._faults: list[list[object]] = []
        self.requests: list[tuple[str, str, str | None]] = []

    def set_faults(self, *faults: ModelFault) -> None:
        """Replace the faults on order. All that match a request apply to it."""
        self._faults = [[fault, fault.times] for fault in faults]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        self.requests.append((request.method, request.path, request.headers.get("Range")))
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = Response(error.get_body(), error.code, error.get_headers(environ))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.method == "PUT" and request.path == "/_faults":
            return self._put_faults(request)
        if request.method not in ("GET", "HEAD"):
            return Response("Method not allowed\n", 405)
        faults = {fault.kind: fault for fault in self._take(request.path.lstrip("/"))}
        for kind, status in (("not-found", 404), ("forbidden", 403), ("error", 503)):
            if kind in faults:
                return Response(f"{kind}\n", status)
        path = (self.folder / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            return Response("not-found\n", 404)
        if faults.keys() & {"no-range", "no-length"}:
            request.environ.pop("HTTP_RANGE", None)
            response = answer_file(Request(request.environ), path, headers={})
            del response.headers["Accept-Ranges"]
        else:
            response = answer_file(request, path, headers={})
        response.headers["Last-Modified"] = time.strftime(
            "%a, %d %b %Y %H:%M:%S GMT", time.gmtime(path.stat().st_mtime)
        )
        if request.method == "GET":
            length = response.content_length or 0
            response.response = self._spoilt(response.response, length, faults)
        if "no-length" in faults:
            del response.headers["Content-Length"]
        return response

    def _put_faults(self, request: Request) -> Response:
        try:
            faults = _FAULTS.validate_json(request.get_data())
        except ValidationError as error:
            return Response(f"{error}\n", 400)
        self.set_faults(*faults)
        return Response(status=204)

    def _spoilt(
        self, pieces: Iterable[bytes] | Iterable[str], length: int, faults: dict[Kind, ModelFault]
    ) -> Iterator[bytes]:
        left = length // 2 if "truncated" in faults else length
        first = True
        for piece in pieces:
            data = piece.encode() if isinstance(piece, str) else piece
            if first and data and "wrong-bytes" in faults:
                data = bytes([data[0] ^ 0xFF]) + data[1:]
            first = False
            data, left = data[:left], left - len(data[:left])
            if not data:
                return
            slow = faults.get("slow")
            yield from [data] if slow is None else _at_rate(data, slow.bytes_per_second)

    def _take(self, path: str) -> Iterator[ModelFault]:
        for entry in self._faults:
            fault, left = entry
            assert isinstance(fault, ModelFault)
            if left == 0 or re.fullmatch(fault.path, path) is None:
                continue
            if isinstance(left, int):
                entry[1] = left - 1
            yield fault


def _at_rate(data: bytes, bytes_per_second: int) -> Iterator[bytes]:
    """The bytes in tenths of a second each, as a server that limits its connections sends them."""
    step = max(1, bytes_per_second // 10)
    due = time.monotonic()
    for start in range(0, len(data), step):
        yield data[start : start + step]
        due += 0.1
        time.sleep(max(0.0, due - time.monotonic()))
