"""Batch's records as this cloud keeps them, how they are found, and the words of Batch's errors."""

from __future__ import annotations

import copy
import re
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from local_cloud.call import HANDLERS, Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError

Key = tuple[str, str, str]
#: Of one resource.
MOST_TAGS = 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass
class Record:
    """One thing of Batch's. `view` is what describing it shows, without its tags."""

    account: str
    region: str
    name: str
    arn: str
    view: Params
    tags: dict[str, str] = field(default_factory=dict)

    def shown(self) -> Params:
        """A copy for an answer."""
        return copy.deepcopy(self.view) | {"tags": dict(self.tags)}


@dataclass
class Environment(Record):
    """A compute environment.

    `launches` is what its machines are launched with since the last infrastructure update: the
    template's ID and version number as they were then, and the AMI that decides.
    """

    launches: Params = field(default_factory=dict)
    #: Goes up with each infrastructure update: machines of an older one are let go.
    generation: int = 1
    #: What a create or update still has to look at (`look`, `replace`, `latest`); None when it has.
    #: Until then no machine is launched.
    unsettled: Params | None = None
    #: When the current infrastructure update began, seconds since 1970; None when there is none.
    updating_since: float | None = None

    @property
    def status(self) -> str:
        return str(self.view["status"])

    @property
    def cluster(self) -> str:
        """The name of the ECS cluster that its machines join."""
        return str(self.view["ecsClusterArn"]).rsplit("/", 1)[-1]


@dataclass
class Queue(Record):
    """A job queue."""


@dataclass
class Definition(Record):
    """One revision of a job definition; `view["status"]` is ACTIVE or INACTIVE."""


R = TypeVar("R", bound=Record)


def environments(cloud: Cloud) -> dict[Key, Environment]:
    return cloud.store.table("batch environments")


def queues(cloud: Cloud) -> dict[Key, Queue]:
    return cloud.store.table("batch queues")


def definitions(cloud: Cloud) -> dict[Key, Definition]:
    """By account, region and `name:revision`."""
    return cloud.store.table("batch job definitions")


def client_error(message: str) -> AwsError:
    """What Batch answers to a request that it will not carry out."""
    return AwsError("ClientException", message, status=400)


def refused(call: Call, message: str) -> AwsError:
    """The same for a request whose content is wrong, in the frame that Batch puts around those."""
    return client_error(
        f"Error executing request, Exception : {message}, RequestId: {call.request_id}"
    )


def check_name(call: Call, name: str, what: str) -> None:
    """Batch's rule for names: up to 128 letters, digits, `-` and `_`, the first no sign."""
    if not _NAME.fullmatch(name):
        raise refused(
            call,
            f"{what} name should be at most 128 characters and contain only letters, numbers,"
            f" hyphens and underscores, starting with a letter or number: {name}",
        )


def key_of(call: Call, name: str) -> Key:
    return call.account, call.region, name


def make_arn(call: Call, kind: str, name: str) -> str:
    return f"arn:aws:batch:{call.region}:{call.account}:{kind}/{name}"


def find(call: Call, table: dict[Key, R], name_or_arn: str) -> R | None:
    """The caller's record with this name or ARN."""
    if name_or_arn.startswith("arn:"):
        found = (record for record in table.values() if record.arn == name_or_arn)
        return next((record for record in found if record.account == call.account), None)
    return table.get(key_of(call, name_or_arn))


def mine(call: Call, table: dict[Key, R]) -> list[R]:
    """The caller's records in the region that was called."""
    wanted = (call.account, call.region)
    return [record for record in list(table.values()) if (record.account, record.region) == wanted]


def ask(call: Call, service: str, action: str, params: Params) -> Params:
    """Make another AWS call in the same account and region, as the service itself would."""
    other = replace(call, service=service, action=action, params=params)
    handler = HANDLERS.get((service, action))
    return handler(other) if handler is not None else other.moto()


def page(call: Call, records: list[Any], key: str) -> Params:
    """One page of an answer by `maxResults` and `nextToken`, which is the next record's number."""
    token, size = call.params.get("nextToken") or "0", call.params.get("maxResults", 100)
    if not token.isdecimal():
        raise client_error(f"The nextToken {token} is not valid")
    if size < 1:
        raise client_error(f"maxResults should be at least 1, but is {size}")
    start = int(token)
    answer: Params = {key: records[start : start + size]}
    if start + size < len(records):
        answer["nextToken"] = str(start + size)
    return answer


def new_uuid() -> str:
    return str(uuid.uuid4())
