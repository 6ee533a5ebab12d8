"""One AWS call as a handler sees it, and the table of handlers that complete or replace moto's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

Params = dict[str, Any]
Handler = Callable[["Call"], Params]

HANDLERS: dict[tuple[str, str], Handler] = {}


@dataclass(frozen=True)
class Call:
    """A request that was parsed and checked by botocore's own model of the service.

    `params` has the shape that boto3 takes and a handler returns the shape that boto3 gives,
    so a handler reads like a client's code, whatever the protocol on the wire.
    """

    cloud: Cloud
    service: str
    action: str
    params: Params
    region: str
    account: str
    access_key: str
    request_id: str
    #: The Host header: tells a machine (AWS's own names) from a client of the plain endpoint.
    host: str = ""

    def moto(
        self, params: Params | None = None, *, action: str | None = None, service: str | None = None
    ) -> Params:
        """Let moto answer this call, or another one in the same account and region.

        Raises `AwsError` with moto's code and message. Holds the moto lock while it runs.
        """
        return self.cloud.moto.invoke(
            service or self.service,
            action or self.action,
            self.params if params is None else params,
            region=self.region,
            account=self.account,
        )


def handles(service: str, *actions: str) -> Callable[[Handler], Handler]:
    """Register the function as the handler of these actions, instead of moto's."""

    def register(handler: Handler) -> Handler:
        for action in actions:
            if (service, action) in HANDLERS:
                raise ValueError(f"{service}:{action} has two handlers")
            HANDLERS[(service, action)] = handler
        return handler

    return register
