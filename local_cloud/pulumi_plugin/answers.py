"""What the provider's answers are made of: failures in AWS's words, diffs, half-made things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from local_cloud.pulumi_plugin import inputs, lifecycle
from local_cloud.pulumi_plugin.aws import error_code, in_words
from local_cloud.pulumi_plugin.compare import Change
from local_cloud.pulumi_plugin.inputs import Fault
from local_cloud.pulumi_plugin.lifecycle import Made
from local_cloud.pulumi_plugin.resource_type import Function, ResourceType
from local_cloud.pulumi_plugin.types import FUNCTIONS, TYPES
from local_cloud.pulumi_plugin.values import Props, to_struct

Context = grpc.ServicerContext
_DIFF_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def diff_response(
    described: ResourceType, found: list[Change], old_inputs: Props, news: Props
) -> provider_pb2.DiffResponse:
    """The changes by their paths, and which of them force a replacement."""
    if not found:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
    forcing = [change for change in found if change.forces]
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME,
        diffs=lifecycle.roots(found),
        replaces=lifecycle.roots(forcing),
        detailedDiff={
            change.path: provider_pb2.PropertyDiff(
                kind=_DIFF_KINDS[change.kind, change.forces], inputDiff=True
            )
            for change in found
        },
        hasDetailedDiff=True,
        deleteBeforeReplace=bool(forcing) and _keeps_its_name(described, old_inputs, news),
    )


def _keeps_its_name(described: ResourceType, old_inputs: Props, news: Props) -> bool:
    """Whether old and new would have the same name, which AWS does not allow at the same time."""
    auto = described.auto_name
    if auto is None or auto.attribute in news.get(inputs.DEFAULTS, ()):
        return False
    name = news.get(auto.attribute)
    return name is not None and name == old_inputs.get(auto.attribute)


def get_type(urn: str, context: Context) -> ResourceType:
    token = urn.split("::")[2].split("$")[-1]
    if token not in TYPES:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the stand-in does not model the resource type {token}; use the real plugin "
            "(pulumi plugin install resource aws)",
        )
    return TYPES[token]


def get_function(token: str, context: Context) -> Function:
    if token not in FUNCTIONS:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the stand-in does not model the function {token}; use the real plugin "
            "(pulumi plugin install resource aws)",
        )
    return FUNCTIONS[token]


def called(urn: str) -> str:
    parts = urn.split("::")
    return f"{parts[2].split('$')[-1]} '{parts[-1]}'"


def failures(faults: list[Fault]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=fault.path, reason=fault.reason) for fault in faults]


@contextmanager
def told(context: Context, doing: str) -> Iterator[None]:
    """Turn what goes wrong inside into one message with AWS's code and words."""
    try:
        yield
    except Exception as error:
        if error_code(error) is None and isinstance(
            error, AssertionError | AttributeError | KeyError
        ):
            raise  # a fault of the stand-in itself: keep its traceback
        context.abort(grpc.StatusCode.UNKNOWN, f"{doing}: {in_words(error)}")


def abort_initialised(context: Context, doing: str, made: Made, news: Props) -> NoReturn:
    """Fail, but hand over the resource's ID and state, so that the engine keeps track of it."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=made.resource_id,
            properties=to_struct(made.state),
            inputs=to_struct(news),
            reasons=[f"{doing}: {made.fault}"],
        )
    )
    message = f"{doing}: {made.fault}"
    status = status_pb2.Status(code=2, message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort always raises")
