"""The cloud's own paths below `/_local_cloud/`: what it holds, and trouble made while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moto.core.request import Request

from local_cloud.batch_settings import SettingsError, changed_settings
from local_cloud.calls import summarise
from local_cloud.faults import Faults, FaultsFileError, parse_faults
from local_cloud.inventory import take_inventory
from local_cloud.latency import ProfileError, profile_of
from local_cloud.timelines import job_timelines
from local_cloud.wire import Wire

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

PREFIX = "/_local_cloud/"

#: Paths that services answer themselves: what is given to them is the rest of the path.
ANSWERS: dict[str, Callable[[Cloud, str, bytes], Any]] = {}


class NoSuchThingError(Exception):
    """What a control call names is not there."""


def controls(
    first: str,
) -> Callable[[Callable[[Cloud, str, bytes], Any]], Callable[[Cloud, str, bytes], Any]]:
    """Register what answers `PUT /_local_cloud/FIRST/REST` with a body; FaultsFileError is 400."""

    def register(
        answer: Callable[[Cloud, str, bytes], Any],
    ) -> Callable[[Cloud, str, bytes], Any]:
        ANSWERS[first] = answer
        return answer

    return register


def control(cloud: Cloud, request: Request) -> Wire:
    """Answer one control call as JSON; what is wrong with it is in `error`."""
    name = request.path.removeprefix(PREFIX)
    try:
        found = _answer(cloud, name, request)
    except (FaultsFileError, ProfileError, SettingsError) as error:
        return _json(400, {"error": str(error)})
    except NoSuchThingError as error:
        return _json(404, {"error": str(error)})
    if found is None:
        return _json(404, {"error": f"no control path {request.method} {request.path}"})
    return _json(200, found)


def _answer(cloud: Cloud, name: str, request: Request) -> Any:
    first, _, rest = name.partition("/")
    if request.method == "PUT" and first in ANSWERS and rest:
        return ANSWERS[first](cloud, rest, request.get_data())
    if name == "faults":
        return _faults(cloud, request)
    if name == "latency":
        return _latency(cloud, request)
    if name == "health":
        return {"ready": True, "real": cloud.real}
    if name == "network":
        return _network(cloud)
    if name == "inventory":
        return take_inventory(cloud)
    if name == "calls":
        return summarise(cloud.calls.read())
    if name == "jobs":
        return {"jobs": job_timelines(cloud)}
    if name == "batch" and request.method == "PUT":
        cloud.batch = changed_settings(cloud.batch, request.get_data())
        return cloud.batch.model_dump()
    return None


def _faults(cloud: Cloud, request: Request) -> Any:
    """PUT replaces what is on order, POST adds to it; all answer with what is on order then."""
    if request.method in ("PUT", "POST"):
        entries = parse_faults(request.get_data())
        if request.method == "PUT":
            cloud.faults = Faults(entries)
        else:
            cloud.faults.add(entries)
    shown = cloud.faults.shown()
    return {"faults": len(shown), "entries": shown}


def _latency(cloud: Cloud, request: Request) -> Any:
    """The latency profile in force; PUT takes another: its JSON, or a built-in one's name."""
    if request.method == "PUT":
        try:
            said = json.loads(request.get_data())
        except ValueError as error:
            raise ProfileError(f"latency profile: not JSON: {error}") from error
        cloud.latency.use(profile_of(said))
    return cloud.latency.profile.model_dump(mode="json")


def _network(cloud: Cloud) -> Any:
    """Where machines are reached, and by which address this cloud is reached from there."""
    if cloud.machines.network is None:
        return {}
    from local_cloud.machines.anchor import GATEWAY  # Linux only, as machines that run

    return {"namespace": cloud.machines.network, "endpoint": f"http://{GATEWAY}"}


def _json(status: int, said: Any) -> Wire:
    body = json.dumps(said, default=str).encode()
    return status, {"Content-Type": "application/json"}, body
