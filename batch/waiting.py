"""AWS as the component's own resources ask it: one client a service, errors in a reader's words."""

from __future__ import annotations

from functools import cache
from typing import Any


class BatchError(Exception):
    """What went wrong and what to do, in sentences; shown without a traceback."""


@cache
def get_client(service: str, region: str) -> Any:
    """A client with botocore's adaptive retries; credentials and endpoint as the AWS CLI has them.

    botocore is imported here and not before: a preview that changes nothing never loads it.
    """
    from botocore.config import Config
    from botocore.session import Session

    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "adaptive", "total_max_attempts": 8},
        user_agent_extra="baked-ami",
    )
    return Session().create_client(service, region_name=region, config=config)


def find_code(error: Exception) -> str:
    """AWS's code of an error; empty for one that is not AWS's."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def explain(error: Exception, doing: str, action: str) -> Exception:
    """The message for a failed call; the error itself where it is not AWS's."""
    code = find_code(error)
    if not code:
        return error
    denied = "AccessDenied" in code or "Unauthorized" in code
    todo = f"Allow {action} to whoever runs this" if denied else "Run `pulumi up` again"
    return BatchError(f"{doing}: {error}. {todo}.")
