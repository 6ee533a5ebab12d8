"""AWS as the plugin reaches it: lazy clients, waiting that can be called off, errors in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import boto3

T = TypeVar("T")

_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_DNS_SUFFIXES = {"aws-cn": "amazonaws.com.cn"}


class WaitCancelledError(Exception):
    """The engine asked the plugin to stop; what is under way in AWS goes on there."""


class WaitTimedOutError(Exception):
    """AWS did not reach the wanted state in the time allowed."""


class Connections:
    """boto3 clients by service and region, made when first needed and shared by all threads."""

    def __init__(self, credentials: Mapping[str, str | None]) -> None:
        self._credentials = dict(credentials)
        self._session: boto3.Session | None = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self.cancelled = threading.Event()

    def client(self, service: str, region: str) -> Any:
        """The client. It tries 8 times, which takes about half a minute in all."""
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._new_client(service, region)
            return self._clients[key]

    def _new_client(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            given = {key: value for key, value in self._credentials.items() if value}
            self._session = boto3.Session(**given)  # type: ignore[arg-type]
        config = Config(
            region_name=region,
            retries={"mode": "adaptive", "total_max_attempts": 8},
            s3={"addressing_style": "path"},
            user_agent_extra="pulumi-aws-stand-in",
            max_pool_connections=32,
        )
        return self._session.client(service, config=config)  # type: ignore[call-overload]


class Account:
    """AWS in one region during one operation, which may take `timeout_s` seconds."""

    def __init__(self, connections: Connections, region: str, *, timeout_s: float = 1200.0) -> None:
        self._connections = connections
        self.region = region
        self._deadline = time.monotonic() + timeout_s

    def client(self, service: str) -> Any:
        return self._connections.client(service, self.region)

    def account_id(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    @property
    def partition(self) -> str:
        for prefix, partition in _PARTITIONS.items():
            if self.region.startswith(prefix):
                return partition
        return "aws"

    @property
    def dns_suffix(self) -> str:
        return _DNS_SUFFIXES.get(self.partition, "amazonaws.com")

    def wait_until(self, look: Callable[[], T | None], what: str) -> T:
        """Call `look` until it gives something; from 0.1 s up to 5 s between two looks.

        Raises `WaitTimedOutError` after the operation's time, `WaitCancelledError` when the
        engine stops it.
        """
        pause = 0.1
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() + pause > self._deadline:
                raise WaitTimedOutError(f"timed out while waiting for {what}")
            if self._connections.cancelled.wait(pause):
                raise WaitCancelledError(f"cancelled while waiting for {what}")
            pause = min(pause * 1.5, 5.0)


def error_code(error: Exception) -> str | None:
    """AWS's code of a boto3 client error; None for any other exception."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return None
    code = response.get("Error", {}).get("Code")
    return str(code) if code is not None else None


def error_message(error: Exception) -> str:
    """AWS's own words of a boto3 client error, or the exception's text."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return str(response.get("Error", {}).get("Message", ""))
    return str(error)


def in_words(error: Exception) -> str:
    """`operation Batch CreateComputeEnvironment, ClientException: message`, or the plain text."""
    code = error_code(error)
    if code is None:
        return str(error) or type(error).__name__
    operation = getattr(error, "operation_name", "?")
    return f"operation {operation}, {code}: {error_message(error)}"
