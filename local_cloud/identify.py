"""Which service, region and caller a request means: by signature, host, target or body."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moto.core.request import Request

#: Names in a SigV4 scope or a host that differ from botocore's name of the service.
SERVICE_OF_NAME = {
    "monitoring": "cloudwatch",
    "elasticloadbalancing": "elbv2",
    "tagging": "resourcegroupstaggingapi",
    "servicequotas": "service-quotas",
    "api.ecr": "ecr",
    "api.ecr-public": "ecr-public",
}
SERVICE_OF_TARGET = {
    "AmazonSSM": "ssm",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "Logs_20140328": "logs",
    "TrentService": "kms",
}
SERVICE_OF_VERSION = {"2016-11-15": "ec2", "2011-06-15": "sts", "2010-05-08": "iam"}
_SCOPE = re.compile(r"(?P<key>[^/\s=]+)/\d{8}/(?P<region>[^/]*)/(?P<service>[^/]+)/aws4_request")
_REGION = re.compile(r"^[a-z]{2}(-[a-z]+)+-\d$")


@dataclass(frozen=True, kw_only=True)
class Addressee:
    """Where a request goes. `service` is botocore's name, None when nothing tells."""

    service: str | None
    region: str
    access_key: str
    signed: bool


def identify(request: Request, *, default_region: str) -> Addressee:
    """Read the signature first, then the host, the target header, the body; S3 for a plain path."""
    scope = _find_scope(request)
    host_service, host_region = _from_host(request.host)
    if scope is not None:
        key, region, name = scope
        service = SERVICE_OF_NAME.get(name, name)
        return Addressee(
            service=service, region=region or host_region or default_region, access_key=key,
            signed=True,
        )  # fmt: skip
    service_or_none = host_service or _from_request(request)
    return Addressee(
        service=service_or_none, region=host_region or default_region, access_key="", signed=False
    )


def is_registry(request: Request) -> bool:
    """Whether this is for the container registry: by host, or `/v2/` without a signature."""
    if ".dkr.ecr." in request.host:
        return True
    path = request.path
    return (path == "/v2" or path.startswith("/v2/")) and _find_scope(request) is None


def _find_scope(request: Request) -> tuple[str, str, str] | None:
    text = request.headers.get("Authorization", "")
    if not text.startswith("AWS4-"):
        text = request.args.get("X-Amz-Credential", "")
    found = _SCOPE.search(text)
    if found is None:
        return None
    return found["key"], found["region"], found["service"].lower()


def _from_host(host: str) -> tuple[str | None, str | None]:
    name = host.split(":")[0].lower()
    if not name.endswith(".amazonaws.com"):
        return None, None
    parts = name.removesuffix(".amazonaws.com").split(".")
    region = None
    if len(parts) > 1 and _REGION.match(parts[-1]):
        region = parts.pop()
    if parts[-1] == "s3" or parts[-1].startswith("s3-"):
        return "s3", region
    joined = ".".join(parts)
    return SERVICE_OF_NAME.get(joined, joined), region


def _from_request(request: Request) -> str | None:
    target = request.headers.get("X-Amz-Target")
    if target:
        return SERVICE_OF_TARGET.get(target.split(".")[0])
    if request.method == "POST" and not (request.content_type or "").startswith("multipart/"):
        version = request.values.get("Version", "")
    else:
        version = request.args.get("Version", "")
    if version:
        return SERVICE_OF_VERSION.get(version)
    return "s3" if request.path != "/" else None
