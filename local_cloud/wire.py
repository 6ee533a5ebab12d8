"""Between HTTP and boto3's shapes: parse and check a request, serialise a result or an error."""

from __future__ import annotations

import json
import re
from typing import Any

from botocore.serialize import create_serializer
from botocore.validate import ParamValidator
from moto.core.errors import COMMON_ERROR_CODES
from moto.core.parse import PROTOCOL_PARSERS, RequestParserError
from moto.core.request import Request, determine_request_protocol
from moto.core.serialize import SerializationContext, get_serializer_class

from local_cloud.errors import AwsError, not_modelled

#: Status, headers, body. Only S3 streams a body, and only on success.
Wire = tuple[int, dict[str, str], Any]

COMMON_QUERY_KEYS = frozenset(
    {"Action", "Version", "AWSAccessKeyId", "SignatureVersion", "SignatureMethod", "Signature",
     "Timestamp", "Expires", "SecurityToken", "ContentType"}
)  # fmt: skip
#: Lists whose services check the values themselves: AWS lengthens the one between botocore's
#: releases, and takes the other (of Batch's retries) in any case.
OPEN_ENUMS = frozenset({"InstanceType", "RetryAction"})
_validator = ParamValidator()


def parse(operation: Any, request: Request, uri_params: dict[str, Any]) -> dict[str, Any]:
    """The request's parameters as boto3 would have taken them, checked against the model.

    Raises AwsError with the code that this family of services uses for a bad parameter.
    """
    model = operation.service_model
    protocol = protocol_of_request(model, request)
    raw = {
        "method": request.method,
        "values": request.values,
        "headers": request.headers,
        "body": request.get_data(),
        "url_path": request.path,
        "url_params": uri_params,
    }
    try:
        params: dict[str, Any] = PROTOCOL_PARSERS[protocol](operation).parse(raw)
    except RequestParserError as error:
        raise bad_parameter(model, f"The request cannot be read: {error}") from error
    except (ValueError, TypeError) as error:
        raise bad_parameter(model, f"A parameter has the wrong type: {error}") from error
    if protocol in ("ec2", "query"):
        _refuse_unknown_query_keys(operation, protocol, request, params)
    elif operation.input_shape is not None and request.get_data():
        _refuse_unknown_json_keys(operation, request)
    if operation.input_shape is not None:
        _check(operation, protocol, params)
    return params


def protocol_of_request(model: Any, request: Request) -> str:
    """Which of the service's protocols is spoken; an AwsError for one that is not served."""
    try:
        protocol: str = determine_request_protocol(model, request.content_type)
    except NotImplementedError:
        protocol = str(model.protocol)
    if protocol not in PROTOCOL_PARSERS:
        raise not_modelled(f"the protocol {protocol} of {model.service_name}")
    return protocol


def bad_parameter(model: Any, message: str) -> AwsError:
    """A parameter error under the code that the service's family uses."""
    protocol = model.metadata["protocol"]
    if protocol == "ec2":
        return AwsError("InvalidParameterValue", message)
    if protocol == "query":
        return AwsError("ValidationError", message)
    codes = {"batch": "ClientException", "ecr": "InvalidParameterException",
             "ecs": "InvalidParameterException", "logs": "InvalidParameterException"}  # fmt: skip
    return AwsError(codes.get(model.service_name, "ValidationException"), message)


def _check(operation: Any, protocol: str, params: dict[str, Any]) -> None:
    report = _validator.validate(params, operation.input_shape)
    if not report.has_errors():
        found = _outside_enum(operation.input_shape, params, "")
        if found:
            raise bad_parameter(operation.service_model, found)
        return
    for problem, name, details in report._errors:
        if problem == "missing required field" and protocol == "ec2":
            missing = ".".join(part for part in (name, details.get("required_name")) if part)
            raise AwsError(
                "MissingParameter", f"The request must contain the parameter {missing.lstrip('.')}"
            )
    raise bad_parameter(operation.service_model, " ".join(report.generate_report().split("\n")))


def _outside_enum(shape: Any, value: Any, path: str) -> str | None:
    """The first value that the model's list of values does not have, in words."""
    if shape.type_name == "structure" and isinstance(value, dict):
        inner = [
            (shape.members[n], v, f"{path}.{n}") for n, v in value.items() if n in shape.members
        ]
    elif shape.type_name == "list" and isinstance(value, list):
        inner = [(shape.member, item, f"{path}.{n}") for n, item in enumerate(value, start=1)]
    elif shape.type_name == "map" and isinstance(value, dict):
        inner = [(shape.value, item, f"{path}.{key}") for key, item in value.items()]
    else:
        allowed = getattr(shape, "enum", None)
        if not allowed or value in allowed or shape.name in OPEN_ENUMS:
            return None
        some = ", ".join(allowed[:12]) + (", …" if len(allowed) > 12 else "")
        return f"Value ({value}) for parameter {path.lstrip('.')} is invalid: one of {some}"
    for member, item, where in inner:
        found = _outside_enum(member, item, where)
        if found:
            return found
    return None


def _refuse_unknown_query_keys(
    operation: Any, protocol: str, request: Request, params: dict[str, Any]
) -> None:
    """What the model does not know was not parsed: so it is missing from what we would send."""
    known: set[str] = set()
    if operation.input_shape is not None:
        sent = create_serializer(protocol, include_validation=False).serialize_to_request(
            params, operation
        )
        known = {_without_numbers(key) for key in sent["body"]}
    for key, value in request.values.items():
        if key in COMMON_QUERY_KEYS or key.startswith("X-Amz-") or value == "":
            continue
        if _without_numbers(key) not in known:
            raise AwsError("UnknownParameter", f"The parameter {key} is not recognized")


def _without_numbers(key: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".#", key)


def _refuse_unknown_json_keys(operation: Any, request: Request) -> None:
    if operation.input_shape.serialization.get("payload"):
        return
    try:
        body = json.loads(request.get_data())
    except ValueError:
        raise AwsError("SerializationException", "The body is not JSON") from None
    unknown = _unknown_json_key(operation.input_shape, body, "")
    if unknown:
        raise bad_parameter(operation.service_model, f"Unknown parameter in input: {unknown}")


def _unknown_json_key(shape: Any, value: Any, path: str) -> str | None:
    if shape.type_name == "structure" and isinstance(value, dict):
        if getattr(shape, "is_document_type", False):
            return None
        names = {m.serialization.get("name", n): m for n, m in shape.members.items()}
        for key, item in value.items():
            if key not in names:
                return f"{path}{key}"
            found = _unknown_json_key(names[key], item, f"{path}{key}.")
            if found:
                return found
    elif shape.type_name == "list" and isinstance(value, list):
        for number, item in enumerate(value):
            found = _unknown_json_key(shape.member, item, f"{path}{number}.")
            if found:
                return found
    return None


def serialise(operation: Any, protocol: str, result: dict[str, Any], request_id: str) -> Wire:
    """A result in boto3's shape as the HTTP answer of this operation."""
    serializer = get_serializer_class(operation.service_model.service_name, protocol)(
        operation, SerializationContext(request_id)
    )
    return _answer(serializer.serialize(result), request_id)


def serialise_error(operation: Any, protocol: str, error: AwsError, request_id: str) -> Wire:
    """An error as the HTTP answer of this service's protocol."""
    if error.code not in COMMON_ERROR_CODES:
        # moto warns of codes that botocore's models lack; AWS has many of them.
        COMMON_ERROR_CODES.append(error.code)
    serializer = get_serializer_class(operation.service_model.service_name, protocol)(
        operation, SerializationContext(request_id)
    )
    status, headers, body = _answer(serializer.serialize(error), request_id)
    if error.status != 400:
        status = error.status
    return status, headers, body


def _answer(response: Any, request_id: str) -> Wire:
    body = response["body"]
    if isinstance(body, str):
        body = body.encode()
    headers = {str(name): str(value) for name, value in response["headers"].items()}
    headers["x-amzn-RequestId"] = request_id
    return int(response["status_code"]), headers, body
