"""Pulumi's provider protocol on gRPC: decodes requests, looks up the type, encodes answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import (
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from local_cloud.pulumi_plugin import inputs, lifecycle
from local_cloud.pulumi_plugin.aws import Account, Connections, error_code, in_words
from local_cloud.pulumi_plugin.inputs import Fault, Naming
from local_cloud.pulumi_plugin.lifecycle import Made
from local_cloud.pulumi_plugin.provider_config import ProviderConfig
from local_cloud.pulumi_plugin.resource_type import Function, ResourceType
from local_cloud.pulumi_plugin.types import FUNCTIONS, TYPES
from local_cloud.pulumi_plugin.values import Props, from_struct, has_unknown, to_struct

#: The pulumi-aws release whose attributes and rules the tables describe.
MODELLED_VERSION = "7.51.0"


def told_version() -> str:
    """The installed SDK's version, which the engine asks for; else the modelled one."""
    try:
        return version("pulumi-aws")
    except PackageNotFoundError:
        return MODELLED_VERSION


Context = grpc.ServicerContext
_DIFF_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


class AwsStandIn(provider_pb2_grpc.ResourceProviderServicer):
    """The servicer. One process serves one engine; calls come in on several threads."""

    def __init__(self) -> None:
        self._config = ProviderConfig()
        self._connections = Connections({})

    # -- the plugin itself -------------------------------------------------------------------

    def GetPluginInfo(self, request: Any, context: Context) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo(version=told_version())

    def GetSchema(self, request: Any, context: Context) -> provider_pb2.GetSchemaResponse:  # noqa: N802
        schema = {
            "name": "aws",
            "version": told_version(),
            "description": "A stand-in that models part of the aws package.",
            "resources": {token: {} for token in TYPES},
            "functions": {token: {} for token in FUNCTIONS},
        }
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        news = from_struct(request.news)
        faults = ProviderConfig.faults(news)
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(faults))

    def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        olds = from_struct(request.old_inputs) or from_struct(request.olds)
        news = from_struct(request.news)
        changed = sorted(key for key in olds.keys() | news if olds.get(key) != news.get(key))
        changed = [key for key in changed if key != "version"]
        replaces = [key for key in changed if key in ("region", "profile", "accessKey")]
        some = (
            provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        )
        return provider_pb2.DiffResponse(changes=some, diffs=changed, replaces=replaces)

    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        given = from_struct(request.args) if request.HasField("args") else {}
        for key, value in request.variables.items():
            given.setdefault(key.rpartition(":")[2], value)
        with _told(context, "configuring the aws stand-in"):
            self._config = ProviderConfig.parse(given, os.environ)
        self._connections = Connections(self._config.credentials)
        # Secrets stay with the engine: it marks outputs of secret inputs as secret by itself.
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False,
            supportsPreview=True,
            acceptResources=False,
            acceptOutputs=False,
            supports_autonaming_configuration=True,
        )

    def Cancel(self, request: Any, context: Context) -> empty_pb2.Empty:  # noqa: N802
        self._connections.cancelled.set()
        return empty_pb2.Empty()

    # -- resources ---------------------------------------------------------------------------

    def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        described = _get_type(request.urn, context)
        modes = provider_pb2.CheckRequest.AutonamingOptions
        naming = Naming(
            resource=request.urn.rpartition("::")[2],
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name or None,
            disabled=request.HasField("autonaming") and request.autonaming.mode == modes.DISABLE,
        )
        checked, faults = inputs.check(
            described,
            from_struct(request.olds),
            from_struct(request.news),
            naming,
            self._config.default_tags,
        )
        return provider_pb2.CheckResponse(inputs=to_struct(checked), failures=_failures(faults))

    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        described = _get_type(request.urn, context)
        olds, news = from_struct(request.olds), from_struct(request.news)
        old_inputs = from_struct(request.old_inputs) if request.HasField("old_inputs") else olds
        found = lifecycle.changes(described, olds, old_inputs, news)
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

    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: Context
    ) -> provider_pb2.CreateResponse:
        described, news = _get_type(request.urn, context), from_struct(request.properties)
        if request.preview:
            state = lifecycle.planned(described, news)
            return provider_pb2.CreateResponse(id="", properties=to_struct(state))
        with _told(context, f"creating {_called(request.urn)}"):
            account = self._account(news, request.timeout)
            made = lifecycle.create(described, account, news)
        if made.fault:
            _abort_initialised(context, f"creating {_called(request.urn)}", made, news)
        return provider_pb2.CreateResponse(id=made.resource_id, properties=to_struct(made.state))

    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, context: Context
    ) -> provider_pb2.ReadResponse:
        described = _get_type(request.urn, context)
        state, old_inputs = from_struct(request.properties), from_struct(request.inputs)
        with _told(context, f"reading {_called(request.urn)} ({request.id})"):
            account = self._account(state, request.timeout)
            found = lifecycle.read(described, account, request.id, state, old_inputs)
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id, properties=to_struct(found[0]), inputs=to_struct(found[1])
        )

    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: Context
    ) -> provider_pb2.UpdateResponse:
        described = _get_type(request.urn, context)
        olds, news = from_struct(request.olds), from_struct(request.news)
        old_inputs = from_struct(request.old_inputs) if request.HasField("old_inputs") else olds
        if request.preview:
            state = lifecycle.planned_update(described, olds, old_inputs, news)
            return provider_pb2.UpdateResponse(properties=to_struct(state))
        with _told(context, f"updating {_called(request.urn)} ({request.id})"):
            account = self._account(news, request.timeout)
            made = lifecycle.update(described, account, request.id, olds, old_inputs, news)
        if made.fault:
            _abort_initialised(context, f"updating {_called(request.urn)}", made, news)
        return provider_pb2.UpdateResponse(properties=to_struct(made.state))

    def Delete(  # noqa: N802
        self, request: provider_pb2.DeleteRequest, context: Context
    ) -> empty_pb2.Empty:
        described, state = _get_type(request.urn, context), from_struct(request.properties)
        with _told(context, f"deleting {_called(request.urn)} ({request.id})"):
            described.delete(self._account(state, request.timeout), request.id, state)
        return empty_pb2.Empty()

    # -- functions ---------------------------------------------------------------------------

    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, context: Context
    ) -> provider_pb2.InvokeResponse:
        function = _get_function(request.tok, context)
        arguments = from_struct(request.args)
        known = {**function.arguments, "region": None}
        faults = [
            Fault(
                name, f"the stand-in does not model '{name}' of {request.tok}; use the real plugin."
            )
            for name in arguments
            if name not in known
        ]
        if faults:
            return provider_pb2.InvokeResponse(failures=_failures(faults))
        if has_unknown(arguments):
            return provider_pb2.InvokeResponse()
        with _told(context, f"invoking {request.tok}"):
            answer = function.invoke(self._account(arguments, 0), arguments)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_struct(answer))  # the field is named by a keyword
        return response

    def _account(self, props: Mapping[str, Any], timeout_s: float) -> Account:
        region = props.get("region") or self._config.get_region()
        return Account(self._connections, str(region), timeout_s=timeout_s or 1200.0)


def _keeps_its_name(described: ResourceType, old_inputs: Props, news: Props) -> bool:
    """Whether old and new would have the same name, which AWS does not allow at the same time."""
    auto = described.auto_name
    if auto is None or auto.attribute in news.get(inputs.DEFAULTS, ()):
        return False
    name = news.get(auto.attribute)
    return name is not None and name == old_inputs.get(auto.attribute)


def _get_type(urn: str, context: Context) -> ResourceType:
    token = urn.split("::")[2].split("$")[-1]
    if token not in TYPES:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the stand-in does not model the resource type {token}; use the real plugin "
            "(pulumi plugin install resource aws)",
        )
    return TYPES[token]


def _get_function(token: str, context: Context) -> Function:
    if token not in FUNCTIONS:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the stand-in does not model the function {token}; use the real plugin "
            "(pulumi plugin install resource aws)",
        )
    return FUNCTIONS[token]


def _called(urn: str) -> str:
    parts = urn.split("::")
    return f"{parts[2].split('$')[-1]} '{parts[-1]}'"


def _failures(faults: list[Fault]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=fault.path, reason=fault.reason) for fault in faults]


@contextmanager
def _told(context: Context, doing: str) -> Iterator[None]:
    """Turn what goes wrong inside into one message with AWS's code and words."""
    try:
        yield
    except Exception as error:
        if error_code(error) is None and isinstance(
            error, AssertionError | AttributeError | KeyError
        ):
            raise  # a fault of the stand-in itself: keep its traceback
        context.abort(grpc.StatusCode.UNKNOWN, f"{doing}: {in_words(error)}")


def _abort_initialised(context: Context, doing: str, made: Made, news: Props) -> NoReturn:
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
