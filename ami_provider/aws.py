"""AWS for the rest of the provider: one session and one client for each service and region."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ami_provider.errors import CAPACITY, THROTTLED
from ami_provider.renewal import RenewableCredentials

if TYPE_CHECKING:
    from botocore.config import _RetryDict
    from botocore.session import Session
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecr import ECRClient
    from types_boto3_iam import IAMClient
    from types_boto3_s3 import S3Client
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

CONNECTIONS = 32
"""Connections each client keeps open: enough for 16 look-ups at a time, twice."""

RETRIED: _RetryDict = {"mode": "adaptive", "total_max_attempts": 8}
ONCE: _RetryDict = {"mode": "standard", "total_max_attempts": 1}
READ_TIMEOUT_S = 60.0
"""How long an answer may take. AWS's own side gives up before that."""

OnFailure = Callable[[str, str], None]
"""Called with an action (`ec2:RunInstances`) and why a call of it failed for now."""


class Aws:
    """Clients of one region, made when first asked for and shared by all threads.

    Credentials and endpoint come from where the AWS CLI takes them (environment, profile, role).
    Calls are retried in botocore's adaptive mode, at most 8 times. Credentials that expire are
    read again once. `shared` is for what a process keeps beside the clients.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self._lock = threading.RLock()
        self.shared: dict[str, Any] = {}
        self._listeners: list[OnFailure] = []
        self._session: Session | None = None
        self._credentials: RenewableCredentials | None = None
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._elsewhere: dict[str, Aws] = {}

    def at(self, region: str) -> Aws:
        """The same account in another region."""
        if region == self.region:
            return self
        with self._lock:
            if region not in self._elsewhere:
                there = Aws(region)
                there._lock, there._session = self._lock, self._get_session()
                there._credentials, there._listeners = self._credentials, self._listeners
                self._elsewhere[region] = there
            return self._elsewhere[region]

    @property
    def ec2(self) -> EC2Client:
        return cast("EC2Client", self.client("ec2"))

    @property
    def ssm(self) -> SSMClient:
        return cast("SSMClient", self.client("ssm"))

    @property
    def ecr(self) -> ECRClient:
        return cast("ECRClient", self.client("ecr"))

    @property
    def s3(self) -> S3Client:
        return cast("S3Client", self.client("s3"))

    @property
    def iam(self) -> IAMClient:
        return cast("IAMClient", self.client("iam"))

    @property
    def sts(self) -> STSClient:
        return cast("STSClient", self.client("sts"))

    @property
    def ec2_once(self) -> EC2Client:
        """EC2 without retries: for RunInstances, whose "no capacity" comes as a fault of AWS's."""
        return cast("EC2Client", self.client("ec2", retries=False))

    def client(self, service: str, region: str | None = None, *, retries: bool = True) -> Any:
        """The client of a service, in this region or in another one.

        botocore is imported here and not before: a preview that looks nothing up never loads it.
        """
        key = (service, region or self.region, retries)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._create_client(*key)
            return self._clients[key]

    @contextmanager
    def telling_failures(self, listener: OnFailure) -> Iterator[None]:
        """Tell the listener of every call that fails for now and may be retried, in this block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _tell_failure(
        self, operation: Any, response: Any = None, caught_exception: Any = None, **_: Any
    ) -> None:
        """botocore's `needs-retry` handler: only listens, never asks for a retry."""
        reason = describe_failure(response, caught_exception)
        if reason:
            action = f"{operation.service_model.service_name}:{operation.name}"
            for listener in tuple(self._listeners):
                listener(action, reason)

    def _retry_when_renewed(self, **asked: Any) -> Any:
        """botocore's `needs-retry` handler for credentials that have expired."""
        return self._credentials and self._credentials.retry_when_renewed(**asked)

    def _create_client(self, service: str, region: str, retries: bool) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=5,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries=RETRIED if retries else ONCE,
            user_agent_extra="baked-ami",
        )
        client = self._get_session().create_client(service, region_name=region, config=config)
        client.meta.events.register_first("needs-retry.*", self._tell_failure)
        client.meta.events.register_last("needs-retry.*", self._retry_when_renewed)
        return client

    def _get_session(self) -> Session:
        from botocore.session import Session

        if self._session is None or self._credentials is None:
            session = Session()
            loader = session.get_component("data_loader")
            services = _list_services(loader.search_paths)
            loader.list_available_services = lambda _type_name: services
            found = session.get_credentials()
            self._credentials = RenewableCredentials(found, lambda: Session().get_credentials())
            if self._credentials:
                session._credentials = self._credentials  # type: ignore[attr-defined]
            self._session = session
        return self._session


def _list_services(folders: Iterable[str]) -> list[str]:
    """The services of botocore's data folders, by one look at each folder.

    Its own way looks into each of the 430 services' folders, twice for the first client.
    """
    found = [Path(folder).iterdir() for folder in folders if Path(folder).is_dir()]
    return [path.name for paths in found for path in paths]


def describe_failure(response: Any, caught: BaseException | None) -> str:
    """Why a call failed so that it is worth another try, in a word; "" for any other outcome."""
    if caught is not None:
        return type(caught).__name__
    if response is None:
        return ""
    code = str(response[1].get("Error", {}).get("Code", ""))
    passing = code in THROTTLED or response[0].status_code >= 500
    return code if passing and code not in CAPACITY else ""


@cache
def get_aws(region: str) -> Aws:
    """The one `Aws` of a region in this process."""
    return Aws(region)
