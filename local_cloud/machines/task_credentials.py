"""The ECS agent's credentials service: a role's keys for the container that knows their path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: ECS developer guide, "Task IAM role": containers ask 169.254.170.2 for this path and their ID.
PATH = "/v2/credentials/"


class TaskCredentials:
    """A WSGI app. `find` gives the keys that belong to an ID, or None for an unknown one."""

    def __init__(self, find: Callable[[str], Mapping[str, str] | None]) -> None:
        self._find = find

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        found = self._find(path.removeprefix(PATH)) if path.startswith(PATH) else None
        # As the agent's own server answers for an ID that it does not have.
        refusal = {
            "code": "InvalidIdInRequest",
            "message": "CredentialsV2Request: Credentials not found",
            "HTTPErrorCode": 400,
        }
        content = json.dumps(refusal if found is None else dict(found)).encode()
        start(
            "200 OK" if found is not None else "400 Bad Request",
            [("Content-Type", "application/json"), ("Content-Length", str(len(content)))],
        )
        return [content]
