"""Pulumi's provider protocol on gRPC: decodes requests, looks up the type, encodes answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from local_cloud.pulumi_plugin import inputs, lifecycle
from local_cloud.pulumi_plugin.answers import (
    Context,
    abort_initialised,
    called,
    diff_response,
    failures,
    get_function,
    get_type,
    told,
)
from local_cloud.pulumi_plugin.aws import Account, Connections
from local_cloud.pulumi_plugin.inputs import Fault, Naming
from local_cloud.pulumi_plugin.provider_config import ProviderConfig
from local_cloud.pulumi_plugin.types import FUNCTIONS, TYPES
from local_cloud.pulumi_plugin.values import from_struct, has_unknown, to_struct

#: The pulumi-aws release whose attributes and rules the tables describe.
MODELLED_VERSION = "7.51.0"


def told_version() -> str:
    """The installed SDK's version, which the engine asks for; else the modelled one."""
    try:
        return version("pulumi-aws")
    except PackageNotFoundError:
        return MODELLED_VERSION


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
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures(faults))

    def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        olds = from_struct(request.old_inputs) or from_struct(request.olds)
        news = from_struct(request.news)
        changed = sorted(key for key in olds.keys() | news if olds.get(key) != news.get(key))
        changed = [key for key in changed if key != "version"]
        replaces = [key for key in changed if key == "region"]
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
        with told(context, "configuring the aws stand-in"):
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
        described = get_type(request.urn, context)
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
        return provider_pb2.CheckResponse(inputs=to_struct(checked), failures=failures(faults))

    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        described = get_type(request.urn, context)
        olds, news = from_struct(request.olds), from_struct(request.news)
        old_inputs = from_struct(request.old_inputs) if request.HasField("old_inputs") else olds
        found = lifecycle.changes(described, olds, old_inputs, news)
        return diff_response(described, found, old_inputs, news)

    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: Context
    ) -> provider_pb2.CreateResponse:
        described, news = get_type(request.urn, context), from_struct(request.properties)
        if request.preview:
            state = lifecycle.planned(described, news)
            return provider_pb2.CreateResponse(id="", properties=to_struct(state))
        with told(context, f"creating {called(request.urn)}"):
            account = self._account(news, request.timeout)
            made = lifecycle.create(described, account, news)
        if made.fault:
            abort_initialised(context, f"creating {called(request.urn)}", made, news)
        return provider_pb2.CreateResponse(id=made.resource_id, properties=to_struct(made.state))

    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, context: Context
    ) -> provider_pb2.ReadResponse:
        described = get_type(request.urn, context)
        state, old_inputs = from_struct(request.properties), from_struct(request.inputs)
        with told(context, f"reading {called(request.urn)} ({request.id})"):
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
        described = get_type(request.urn, context)
        olds, news = from_struct(request.olds), from_struct(request.news)
        old_inputs = from_struct(request.old_inputs) if request.HasField("old_inputs") else olds
        if request.preview:
            state = lifecycle.planned_update(described, olds, old_inputs, news)
            return provider_pb2.UpdateResponse(properties=to_struct(state))
        with told(context, f"updating {called(request.urn)} ({request.id})"):
            account = self._account(news, request.timeout)
            made = lifecycle.update(described, account, request.id, olds, old_inputs, news)
        if made.fault:
            abort_initialised(context, f"updating {called(request.urn)}", made, news)
        return provider_pb2.UpdateResponse(properties=to_struct(made.state))

    def Delete(  # noqa: N802
        self, request: provider_pb2.DeleteRequest, context: Context
    ) -> empty_pb2.Empty:
        described, state = get_type(request.urn, context), from_struct(request.properties)
        with told(context, f"deleting {called(request.urn)} ({request.id})"):
            described.delete(self._account(state, request.timeout), request.id, state)
        return empty_pb2.Empty()

    # -- functions ---------------------------------------------------------------------------

    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, context: Context
    ) -> provider_pb2.InvokeResponse:
        function = get_function(request.tok, context)
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
            return provider_pb2.InvokeResponse(failures=failures(faults))
        if has_unknown(arguments):
            return provider_pb2.InvokeResponse()
        with told(context, f"invoking {request.tok}"):
            answer = function.invoke(self._account(arguments, 0), arguments)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_struct(answer))  # the field is named by a keyword
        return response

    def _account(self, props: Mapping[str, Any], timeout_s: float) -> Account:
        region = props.get("region") or self._config.get_region()
        if "AWS_ENDPOINT_URL" not in os.environ:
            raise ValueError(
                "AWS_ENDPOINT_URL is not set, and the stand-in does not manage real accounts: run "
                "under `python -m local_cloud run`, or install the real plugin "
                "(pulumi plugin install resource aws)"
            )
        return Account(self._connections, str(region), timeout_s=timeout_s or 1200.0)
