"""Batch's job definitions: every registration is a new revision, which is never changed."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import not_modelled
from local_cloud.inventory import Item, lists
from local_cloud.services.batch_job_rules import (
    check_requirements,
    check_tries_and_time,
    requirements_of,
)
from local_cloud.services.batch_model import (
    Definition,
    check_name,
    client_error,
    definitions,
    find,
    key_of,
    make_arn,
    mine,
    page,
    refused,
)

_KEPT = (
    "type",
    "parameters",
    "schedulingPriority",
    "containerProperties",
    "retryStrategy",
    "propagateTags",
    "timeout",
    "platformCapabilities",
)
_NOT_MODELLED = (
    "nodeProperties",
    "eksProperties",
    "ecsProperties",
    "consumableResourceProperties",
    "resourceRetentionPolicy",
)


@handles("batch", "RegisterJobDefinition")
def register(call: Call) -> Params:
    params, name = call.params, call.params["jobDefinitionName"]
    check_name(call, name, "Job definition")
    for unknown in _NOT_MODELLED:
        if params.get(unknown):
            raise not_modelled(f"{unknown} of a job definition")
    if params["type"] != "container":
        raise not_modelled(f"job definitions of type {params['type']}")
    if "FARGATE" in (params.get("platformCapabilities") or []):
        raise not_modelled("job definitions for Fargate")
    _check_container(call, params.get("containerProperties") or {})
    check_tries_and_time(call, params.get("retryStrategy") or {}, params.get("timeout") or {})
    with call.cloud.store.lock:
        revision = 1 + max(_revisions(call, name), default=0)
        arn = make_arn(call, "job-definition", f"{name}:{revision}")
        view: Params = {key: params[key] for key in _KEPT if params.get(key) is not None}
        view |= {
            "jobDefinitionName": name,
            "jobDefinitionArn": arn,
            "revision": revision,
            "status": "ACTIVE",
            "containerOrchestrationType": "ECS",
        }
        record = Definition(
            call.account, call.region, name, arn, view, dict(params.get("tags") or {})
        )
        definitions(call.cloud)[key_of(call, f"{name}:{revision}")] = record
    return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}


def _revisions(call: Call, name: str) -> list[int]:
    own = mine(call, definitions(call.cloud))
    return [int(record.view["revision"]) for record in own if record.name == name]


def _check_container(call: Call, container: Params) -> None:
    if not container.get("image"):
        raise refused(call, "Container properties need an image")
    wanted = requirements_of(container)
    for kind, old in (("MEMORY", "memory"), ("VCPU", "vcpus")):
        if kind not in wanted:
            raise refused(call, f"Container properties need {old}: a {kind} resource requirement")
    check_requirements(call, wanted)
    volumes = {volume.get("name") for volume in container.get("volumes") or []}
    for mount in container.get("mountPoints") or []:
        if mount.get("sourceVolume") not in volumes:
            raise refused(call, f"Unknown volume '{mount.get('sourceVolume')}' in the mount points")


@handles("batch", "DeregisterJobDefinition")
def deregister(call: Call) -> Params:
    wanted = call.params["jobDefinition"]
    record = find(call, definitions(call.cloud), wanted)
    if record is None:
        raise client_error(f"Job Definition {wanted} does not exist")
    with call.cloud.store.lock:
        record.view["status"] = "INACTIVE"
    return {}


@handles("batch", "DescribeJobDefinitions")
def describe(call: Call) -> Params:
    """By ARNs or `name:revision`, by name, by status; newest revision first."""
    params, table = call.params, definitions(call.cloud)
    with call.cloud.store.lock:
        named = params.get("jobDefinitions")
        found = (
            [record for name in named if (record := find(call, table, name))]
            if named
            else mine(call, table)
        )
        name, status = params.get("jobDefinitionName"), params.get("status")
        shown = [
            record.shown()
            for record in sorted(found, key=lambda record: -int(record.view["revision"]))
            if name in (None, record.name) and status in (None, record.view["status"])
        ]
        return page(call, shown, "jobDefinitions")


@lists("job definition")
def list_definitions(cloud: Cloud) -> list[Item]:
    return [
        {"id": record.arn, "name": record.name, "region": record.region}
        for record in definitions(cloud).values()
        if record.view["status"] == "ACTIVE"
    ]
