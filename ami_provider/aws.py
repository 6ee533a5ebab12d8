"""AWS for the rest of the provider: one session and one client for each service and region."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any, cast

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


class Aws:
    """Clients of one region, made when first asked for and shared by all threads.

    Credentials and endpoint come from where the AWS CLI takes them (environment, profile, role).
    Calls are retried in botocore's adaptive mode, at most 8 times.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._clients: dict[tuple[str, str, bool], Any] = {}

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

    def _create_client(self, service: str, region: str, retries: bool) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        if self._session is None:
            self._session = Session()
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=CONNECTIONS,
            retries=RETRIED if retries else ONCE,
            user_agent_extra="baked-ami",
        )
        return self._session.create_client(service, region_name=region, config=config)


@cache
def get_aws(region: str) -> Aws:
    """The one `Aws` of a region in this process."""
    return Aws(region)
