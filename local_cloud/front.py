"""The front door: one WSGI app that every client reaches, whatever the service and protocol."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationNotFoundError
from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import HTTPException

from local_cloud import wire
from local_cloud.answers import StartResponse, cut, error_code, plain_error, send
from local_cloud.call import HANDLERS, Call, Params
from local_cloud.calls import LoggedCall, is_mutating
from local_cloud.control import PREFIX, control
from local_cloud.errors import AwsError, not_modelled
from local_cloud.faults import DroppedError, Fault, after_effect, before_effect
from local_cloud.faults.hooks import ABOUT_CALLS, facts_of_call
from local_cloud.identify import Addressee, identify, is_registry
from local_cloud.model_server import HOST as MODELS_HOST
from local_cloud.moto_backend import endpoint_of
from local_cloud.objects.addresses import is_for_objects, path_style
from local_cloud.refusals import why_refused

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud


class Front:
    """WSGI app over one cloud: AWS calls, the container registry, and our own control paths."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start_unless_closed(status: str, headers: list[tuple[str, str]]) -> Any:
            if self._cloud.closed.is_set():
                raise DroppedError
            return start_response(status, headers)

        try:
            return self._serve(environ, start_unless_closed)
        except DroppedError:
            cut(environ)

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ = path_style(environ)
        request = Request(environ)
        if request.path.startswith(PREFIX):
            return send(start_response, *control(self._cloud, request))
        if request.host.split(":")[0] == MODELS_HOST and self._cloud.models is not None:
            model: Iterable[bytes] = self._cloud.models(environ, start_response)
            return model
        if is_registry(request):
            registry = self._cloud.registry
            if registry is None:
                return send(start_response, 501, {}, b"The local cloud has no registry.\n")
            details = self._cloud.details
            if details is not None:
                home = self._cloud
                details.add_registry(request, region=home.region, account=home.account)
            answer: Iterable[bytes] = registry.app(environ, start_response)
            return answer
        return send(start_response, *self._aws(request))

    def _aws(self, request: Request) -> wire.Wire:
        started = time.time()
        request_id = str(uuid.uuid4())
        if not is_for_objects(request):
            request.get_data()  # read before any form is parsed from it: moto wants the bytes too
        to = identify(request, default_region=self._cloud.region)
        try:
            operation, uri_params = _find_operation(request, to)
        except AwsError as error:
            service = to.service or "unknown"
            self._log(started, to, service, "unknown", {}, error.status, error.code, request_id)
            return plain_error(request, error, request_id)
        return self._run(request, to, operation, uri_params, started, request_id)

    def _run(
        self,
        request: Request,
        to: Addressee,
        operation: Any,
        uri_params: Params,
        started: float,
        request_id: str,
    ) -> wire.Wire:
        """Run one known operation: parse, fault, handle, serialise; always logged."""
        service, action = operation.service_model.service_name, operation.name
        params: Params = {}
        fault: Fault | None = None
        code: str | None = None
        status = 0
        protocol = str(operation.service_model.protocol)
        try:
            protocol = wire.protocol_of_request(operation.service_model, request)
            if service != "s3" or (service, action) in HANDLERS:
                params = wire.parse(operation, request, uri_params)
            else:
                params = uri_params
            if service != "s3":
                self._cloud.pause(self._cloud.latency.due("call"))
            call = self._call(to, service, action, params, request_id, request.host)
            if self._cloud.details is not None:
                self._cloud.details.add(call, dict(request.args) if service == "s3" else {})
            fault = self._cloud.faults.take(
                service, action, params, lambda: facts_of_call(call),
                of_call={"access_key": to.access_key, "region": to.region},
            )  # fmt: skip
            if fault is not None:
                before_effect(fault, self._cloud.stopping.wait)
            answer = self._answer(request, to, operation, call, protocol)
            if fault is not None:
                after_effect(fault, self._cloud.stopping.wait)
            status = answer[0]
            if status >= 400:
                code = error_code(answer)
            return answer
        except AwsError as error:
            code = error.code
            answer = wire.serialise_error(operation, protocol, error, request_id)
            status = answer[0]
            return answer
        finally:
            self._log(
                started, to, service, action, params, status, code, request_id,
                fault.fault if fault else None,
            )  # fmt: skip

    def _answer(
        self, request: Request, to: Addressee, operation: Any, call: Call, protocol: str
    ) -> wire.Wire:
        service, action = call.service, call.action
        handler = HANDLERS.get((service, action))
        try:
            for hook in ABOUT_CALLS:
                hook(call, None)
            if handler is not None:
                result = handler(call)
                for hook in ABOUT_CALLS:
                    hook(call, result)
                return wire.serialise(operation, protocol, result, call.request_id)
            refused = why_refused(service, action)
            if refused is not None:
                raise not_modelled(refused)
            if service == "s3" and self._cloud.objects is not None:
                streamed: wire.Wire = self._cloud.objects.answer(
                    request, action, access_key=to.access_key, region=to.region
                )
                return streamed
            answer = self._pass_to_moto(request, to, operation)
            if answer[0] < 400:
                for hook in ABOUT_CALLS:
                    hook(call, {})
            return answer
        except (AwsError, DroppedError):
            raise
        except HTTPException as error:
            raise AwsError("InternalError", str(error), status=500) from error
        except Exception as error:
            self._cloud.say(f"{service}:{action} failed:\n{traceback.format_exc()}")
            raise AwsError(
                "InternalError",
                f"The local cloud failed in {service}:{action}: {type(error).__name__}: {error}",
                status=500,
            ) from error

    def _call(
        self, to: Addressee, service: str, action: str, params: Params, request_id: str, host: str
    ) -> Call:
        return Call(
            cloud=self._cloud,
            service=service,
            action=action,
            params=params,
            region=to.region,
            account=self._cloud.account_of(to.access_key),
            access_key=to.access_key,
            request_id=request_id,
            host=host,
        )

    def _pass_to_moto(self, request: Request, to: Addressee, operation: Any) -> wire.Wire:
        host = request.host
        if ".s3." not in host or not host.endswith(".amazonaws.com"):
            host = endpoint_of(operation.service_model, to.region)
        query = request.query_string.decode()
        url = f"https://{host}{request.raw_path}" + (f"?{query}" if query else "")
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        return self._cloud.moto.pass_through(request.method, url, headers, request.get_data())

    def _log(
        self,
        started: float,
        to: Addressee,
        service: str,
        action: str,
        params: Params,
        status: int,
        code: str | None,
        request_id: str,
        fault: str | None = None,
    ) -> None:
        mutating = is_mutating(action, params)
        self._cloud.calls.add(
            LoggedCall(
                time=started,
                duration_ms=round((time.time() - started) * 1000, 2),
                service=service,
                action=action,
                region=to.region,
                account=self._cloud.account_of(to.access_key),
                access_key=to.access_key,
                status=status,
                code=code,
                mutating=mutating,
                request_id=request_id,
                fault=fault,
            )
        )
        if mutating:
            self._cloud.changed()


def _find_operation(request: Request, to: Addressee) -> tuple[Any, Params]:
    """The operation that the request means, or an AwsError that says what is not known."""
    if to.service is None:
        raise AwsError(
            "MissingAuthenticationToken",
            "The request is not signed and names no service: this is an endpoint for AWS clients"
            " (set AWS_ENDPOINT_URL to it)",
            status=403,
        )
    try:
        operation, uri_params = get_service_router(to.service).match(request)
    except UnknownServiceError:
        raise not_modelled(f"the service {to.service}") from None
    except (HTTPException, NotImplementedError, OperationNotFoundError):
        named = request.headers.get("X-Amz-Target") or request.values.get("Action")
        what = named or f"{request.method} {request.path}"
        raise AwsError(
            "InvalidAction", f"The action {what} is not valid for the service {to.service}"
        ) from None
    return operation, dict(uri_params)
