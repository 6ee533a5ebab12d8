"""Live text on a resource's own line in `pulumi up`, through the engine's Log call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from ami_provider.redaction import redact_marked

MAX_MESSAGE_BYTES = 1024 * 1024 * 400
"""What Pulumi's own SDK allows for one gRPC message."""

_engines: dict[str, Any] = {}
_lock = threading.Lock()


def find_engine_address() -> str | None:
    """The engine's address, which it gives the provider's process as its first argument."""
    return sys.argv[1] if len(sys.argv) > 1 and ":" in sys.argv[1] else None


def create_reporter(urn: str, address: str | None = None) -> Callable[[str], None]:
    """A function that shows one line of text beside the resource, each in place of the last.

    Without an engine, or with one that has gone, the text is dropped: a bake never fails for it.
    """
    engine = address or find_engine_address()
    if not engine:
        return lambda _text: None

    def report(text: str) -> None:
        _log(engine, urn, text, ephemeral=True)

    return report


def create_announcer(urn: str, address: str | None = None) -> Callable[[str], None]:
    """As `create_reporter`, but the lines stay: for what a reader must still see at the end."""
    engine = address or find_engine_address()
    if not engine:
        return lambda _text: None

    def announce(text: str) -> None:
        _log(engine, urn, text, ephemeral=False)

    return announce


def _log(address: str, urn: str, text: str, *, ephemeral: bool) -> None:
    import grpc
    from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

    try:
        with _lock:
            if address not in _engines:
                channel = grpc.insecure_channel(
                    address, options=[("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
                )
                _engines[address] = engine_pb2_grpc.EngineStub(channel)
            engine = _engines[address]
        engine.Log(
            engine_pb2.LogRequest(
                severity=engine_pb2.LogSeverity.Value("INFO"),
                message=redact_marked(text),
                urn=urn,
                streamId=0,
                ephemeral=ephemeral,
            ),
            timeout=10,
        )
    except grpc.RpcError:
        return
