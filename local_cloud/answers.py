"""How answers leave: sent with a length, or as an error in the likeliest form, or cut off."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from moto.core.request import Request
from moto.core.utils import get_service_model

from local_cloud import wire
from local_cloud.errors import AwsError

StartResponse = Callable[..., Any]


def plain_error(request: Request, error: AwsError, request_id: str) -> wire.Wire:
    """An error for a request whose operation is unknown, in the likeliest form."""
    if request.headers.get("X-Amz-Target") or "json" in (request.content_type or ""):
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        return error.status, {"Content-Type": "application/x-amz-json-1.1"}, body
    model = get_service_model("ec2" if request.values.get("Version") == "2016-11-15" else "sts")
    operation = model.operation_model(next(iter(model.operation_names)))
    return wire.serialise_error(operation, str(model.protocol), error, request_id)


def error_code(answer: wire.Wire) -> str | None:
    """The error code in an answer of moto's."""
    _, headers, body = answer
    for name, value in headers.items():
        if name.lower() == "x-amzn-errortype":
            return value.split("#")[-1].split(":")[0]
    text: str = body[:2000].decode(errors="replace")
    if "<Code>" in text:
        return text.split("<Code>", 1)[1].split("</Code>", 1)[0]
    try:
        return str(json.loads(text).get("__type", "")).split("#")[-1] or None
    except (ValueError, AttributeError):
        return None


def send(
    start_response: StartResponse,
    status: int,
    headers: dict[str, str],
    body: bytes | Iterable[bytes],
) -> Iterable[bytes]:
    """Answer with a length, so that no client waits for more."""
    names = {name.lower() for name in headers}
    hop = {"connection", "transfer-encoding", "status"}
    sent = [(name, value) for name, value in headers.items() if name.lower() not in hop]
    if isinstance(body, bytes) and "content-length" not in names and status not in (204, 304):
        sent.append(("Content-Length", str(len(body))))
    start_response(f"{status} {'OK' if status < 400 else 'Error'}", sent)
    if not isinstance(body, bytes):
        return body
    return [body] if body else []


def cut(environ: dict[str, Any]) -> NoReturn:
    """Close the client's connection without a byte of an answer, as if the client had gone."""
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError
