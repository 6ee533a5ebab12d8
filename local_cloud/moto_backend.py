"""moto, in this process: AWS's wide and stateful part, without a network, under one lock."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ParamValidationError
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.core.base_backend import BackendDict
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.utils import get_service_model

from local_cloud.errors import AwsError, not_modelled

# moto warns when an error code is not in botocore's model; AWS has many such codes.
warnings.filterwarnings("ignore", message="Exception.*does not match an error shape")

GLOBAL_HOSTS = {"iam": "iam.amazonaws.com", "cloudfront": "cloudfront.amazonaws.com"}
PROTOCOLS = ("json", "query", "ec2", "rest-json", "rest-xml")
#: Python's look of a set, which some of moto's messages have around a name that is not there.
_SET_IN_MESSAGE = re.compile(rb"\{(?:'|&#39;)([^{}]*?)(?:'|&#39;)\}")
ERROR_CODES_OF_FAULTS = frozenset({"InternalError", "InternalFailure", "InternalServerError"})


class Model(Protocol):
    """What is used of a botocore service model."""

    metadata: dict[str, Any]
    service_name: str


def endpoint_of(model: Any, region: str) -> str:
    """The AWS host name that moto knows this service by."""
    if model.service_name in GLOBAL_HOSTS:
        return GLOBAL_HOSTS[model.service_name]
    prefix = model.metadata.get("endpointPrefix", model.service_name)
    return f"{prefix}.{region}.amazonaws.com"


def protocol_of(model: Any) -> str:
    """The protocol spoken with moto: the first of the service's that both sides know."""
    offered = model.metadata.get("protocols") or [model.metadata["protocol"]]
    for protocol in PROTOCOLS:
        if protocol in offered:
            return protocol
    raise not_modelled(f"the protocols {', '.join(offered)} of {model.service_name}")


def prepare_environment() -> None:
    """Settings of moto's, which it reads from this process's environment."""
    # Only images that can boot exist: the base images are registered by the EC2 service.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    # moto asks boto3 for a session of this process: the caller's profiles must play no part.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")


class Moto:
    """All of moto's backends. One per process, as moto keeps its backends in module globals."""

    def __init__(self) -> None:
        prepare_environment()
        self.lock = threading.RLock()
        self._stubber = BotocoreStubber()

    def reset(self) -> None:
        """Forget every account's resources."""
        with self.lock:
            BackendDict.reset()

    def invoke(
        self,
        service: str,
        action: str,
        params: dict[str, Any],
        *,
        region: str,
        account: str = "123456789012",
    ) -> dict[str, Any]:
        """Make one AWS call of moto's, with boto3's parameters and result.

        A streamed result's body is plain bytes. Raises AwsError with moto's code and message.
        """
        model = get_service_model(service)
        operation = model.operation_model(action)
        protocol = protocol_of(model)
        try:
            wire = create_serializer(protocol).serialize_to_request(params, operation)
        except ParamValidationError as error:
            raise AwsError("ValidationError", str(error)) from error
        url = f"https://{endpoint_of(model, region)}{wire['url_path']}"
        if wire["query_string"]:
            query = wire["query_string"]
            joiner = "&" if "?" in url else "?"
            url += joiner + (query if isinstance(query, str) else urlencode(query, doseq=True))
        body = wire["body"]
        if isinstance(body, dict):
            body = urlencode(body, doseq=True)
        headers = dict(wire["headers"])
        headers["x-moto-account-id"] = account
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential=local/20260101/{region}/"
            f"{model.signing_name}/aws4_request, SignedHeaders=host, Signature=0"
        )
        status, answer_headers, answer = self.pass_through(wire["method"], url, headers, body)
        parsed: dict[str, Any] = create_parser(protocol).parse(
            {"status_code": status, "headers": answer_headers, "body": answer},
            operation.output_shape,
        )
        if status >= 300:
            error_part = parsed.get("Error", {})
            raise AwsError(
                str(error_part.get("Code") or "InternalError"),
                str(error_part.get("Message") or ""),
                status=status,
            )
        parsed.pop("ResponseMetadata", None)
        return parsed

    def pass_through(
        self, method: str, url: str, headers: Any, body: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Hand one HTTP request with an AWS host name to moto: its status, headers and body."""
        request = AWSPreparedRequest(method, url, headers, body, False)
        with self.lock:
            try:
                answered = self._stubber.process_request(request)
            except NotImplementedError as error:
                raise not_modelled(f"this call ({error})") from error
        if answered is None:
            raise not_modelled(f"anything at {urlsplit(url).netloc}")
        status, answer_headers, answer = answered
        status = int(status)
        if status == 404 and answer == "Not yet implemented":
            raise not_modelled(f"{method} {urlsplit(url).path} of {urlsplit(url).netloc}")
        if isinstance(answer, str):
            answer = answer.encode()
        if status >= 400:
            answer = _SET_IN_MESSAGE.sub(rb"\1", answer)
        return status, {str(k): str(v) for k, v in dict(answer_headers).items()}, answer

    def backend(self, service: str, *, region: str, account: str) -> Any:
        """moto's own object that holds a service's resources (hold `lock` while using it)."""
        from moto.backends import get_backend

        return get_backend(service)[account][region]

    def dump(self) -> dict[tuple[str, str, str], Any]:
        """Every backend in use, by (service, account, region)."""
        found: dict[tuple[str, str, str], Any] = {}
        for backends in list(BackendDict._instances):
            for account, region, backend in backends.iter_backends():
                found[(backends.service_name, account, region)] = backend
        return found

    def load(self, backends: dict[tuple[str, str, str], Any]) -> None:
        """Put back what `dump` gave."""
        from moto.backends import get_backend

        for (service, account, region), backend in backends.items():
            dict.__setitem__(get_backend(service)[account], region, backend)


def loaded_services() -> list[str]:
    """Which of moto's services have been imported so far (they are, on their first call)."""
    return sorted(
        name.split(".")[1]
        for name in sys.modules
        if name.startswith("moto.") and name.count(".") == 1
    )
