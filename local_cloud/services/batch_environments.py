"""Batch's compute environments: made, described, updated in place, deleted."""

from __future__ import annotations

from local_cloud import lifecycle
from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import not_modelled
from local_cloud.inventory import Item, lists
from local_cloud.services.batch_model import (
    Environment,
    check_name,
    client_error,
    environments,
    find,
    key_of,
    make_arn,
    mine,
    new_uuid,
    page,
    queues,
    refused,
)
from local_cloud.services.batch_placing import vcpus_of
from local_cloud.services.batch_rules import (
    INFRASTRUCTURE,
    check_resources,
    is_service_linked,
    is_updatable,
)
from local_cloud.services.batch_updates import end_machines, settle
from local_cloud.services.iam import ensure_service_role

SERVICE = "batch.amazonaws.com"


@handles("batch", "CreateComputeEnvironment")
def create(call: Call) -> Params:
    """Checks the request, then makes the environment ready in the background: VALID or INVALID."""
    params, name = call.params, call.params["computeEnvironmentName"]
    check_name(call, name, "Compute environment")
    for unknown in ("eksConfiguration", "unmanagedvCpus", "ecsSettings"):
        if params.get(unknown):
            raise not_modelled(f"{unknown} of a compute environment")
    resources = params.get("computeResources")
    if params["type"] == "MANAGED":
        if not resources:
            raise refused(call, "computeResources must be provided for a MANAGED environment")
        check_resources(call, resources)
    elif resources:
        raise refused(call, "computeResources must not be provided for an UNMANAGED environment")
    role = params.get("serviceRole") or _service_linked_role(call)
    with call.cloud.store.lock:
        if key_of(call, name) in environments(call.cloud):
            raise client_error("Object already exists")
        environment = _new(call, name, role)
        environments(call.cloud)[key_of(call, name)] = environment
    settle(call, environment)
    return {"computeEnvironmentName": name, "computeEnvironmentArn": environment.arn}


def _new(call: Call, name: str, role: str) -> Environment:
    params, identity = call.params, new_uuid()
    arn = make_arn(call, "compute-environment", name)
    view: Params = {
        "computeEnvironmentName": name,
        "computeEnvironmentArn": arn,
        "ecsClusterArn": f"arn:aws:ecs:{call.region}:{call.account}:cluster/"
        f"AWSBatch-{name}-{identity}",
        "type": params["type"],
        "state": params.get("state", "ENABLED"),
        "status": "CREATING",
        "statusReason": "",
        "serviceRole": role,
        "containerOrchestrationType": "ECS",
        "uuid": identity,
    }
    resources = params.get("computeResources")
    if resources:
        least = resources.get("minvCpus", 0)
        filled = {"allocationStrategy": "BEST_FIT", "minvCpus": least, "desiredvCpus": least}
        view["computeResources"] = filled | resources
    tags = dict(params.get("tags") or {})
    return Environment(call.account, call.region, name, arn, view, tags, unsettled={"look": True})


def _service_linked_role(call: Call) -> str:
    """The ARN of Batch's own role, which Batch makes when it is not there."""
    return str(ensure_service_role(call.cloud, SERVICE, account=call.account)["Arn"])


@handles("batch", "DescribeComputeEnvironments")
def describe(call: Call) -> Params:
    named = call.params.get("computeEnvironments")
    table = environments(call.cloud)
    with call.cloud.store.lock:
        if named:
            found = [record for name in named if (record := find(call, table, name))]
        else:
            found = mine(call, table)
        return page(call, [_shown(call, record) for record in found], "computeEnvironments")


def _shown(call: Call, environment: Environment) -> Params:
    """With the vCPUs that Batch keeps at the moment as `desiredvCpus`."""
    shown = environment.shown()
    resources = shown.get("computeResources")
    if resources:
        kept = max(vcpus_of(call.cloud, environment), resources["minvCpus"])
        resources["desiredvCpus"] = min(kept, resources["maxvCpus"])
    return shown


@handles("batch", "UpdateComputeEnvironment")
def update(call: Call) -> Params:
    """An infrastructure update needs the service-linked role and a strategy that can be updated."""
    params = call.params
    for unknown in ("unmanagedvCpus", "ecsSettings", "eksConfiguration"):
        if params.get(unknown):
            raise not_modelled(f"{unknown} of a compute environment")
    environment = find(call, environments(call.cloud), params["computeEnvironment"])
    if environment is None:
        raise client_error(f"{params['computeEnvironment']} does not exist")
    with call.cloud.store.lock:
        if environment.status in ("CREATING", "UPDATING", "DELETING"):
            raise client_error("Cannot update, resource is being modified.")
        was_valid, view = environment.status == "VALID", dict(environment.view)
        infrastructure = _apply_update(call, view)
        resources = params.get("computeResources") or {}
        environment.view = view | {"status": "UPDATING", "statusReason": ""}
        environment.unsettled = {
            "look": infrastructure or not was_valid,
            "replace": infrastructure,
            "latest": resources.get("updateToLatestImageVersion", False),
        }
    settle(call, environment)
    return {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
    }


def _apply_update(call: Call, view: Params) -> bool:
    """Put the request's changes into `view`; whether they touch the machines."""
    params, changes = call.params, dict(call.params.get("computeResources") or {})
    resources = dict(view.get("computeResources") or {})
    touched = sorted(
        name
        for name in INFRASTRUCTURE
        if name in changes and (changes[name] or None) != (resources.get(name) or None)
    )
    needs_linked = touched + (["updatePolicy"] if params.get("updatePolicy") else [])
    if needs_linked and not is_service_linked(view["serviceRole"]):
        raise client_error(
            f"Following fields {needs_linked} can be updated only for Non-fargate Compute"
            " Environment having a Batch Service Linked Role"
        )
    if changes and view["type"] != "MANAGED":
        raise refused(call, "computeResources cannot be updated for an UNMANAGED environment")
    _change_role(call, view)
    if changes:
        changes.pop("updateToLatestImageVersion", None)
        after = {name: value for name, value in (resources | changes).items() if value != ""}
        if touched and not (
            is_updatable(view) and is_updatable(view | {"computeResources": after})
        ):
            raise client_error(
                f"Following fields {touched} can be updated only with allocation strategy"
                " BEST_FIT_PROGRESSIVE, SPOT_CAPACITY_OPTIMIZED or SPOT_PRICE_CAPACITY_OPTIMIZED"
            )
        if "desiredvCpus" not in changes:  # Batch's own number, which follows the bounds
            least, most = after["minvCpus"], after["maxvCpus"]
            after["desiredvCpus"] = max(least, min(after["desiredvCpus"], most))
        check_resources(call, after)
        view["computeResources"] = after
    if params.get("updatePolicy"):
        view["updatePolicy"] = _policy(call, params["updatePolicy"], view.get("updatePolicy") or {})
    if params.get("state"):
        view["state"] = params["state"]
    return bool(touched)


def _change_role(call: Call, view: Params) -> None:
    role = call.params.get("serviceRole")
    if role is None:
        return
    if is_service_linked(view["serviceRole"]) and role and not is_service_linked(role):
        raise refused(call, "A service-linked role cannot be changed to another role")
    view["serviceRole"] = role or _service_linked_role(call)


def _policy(call: Call, given: Params, before: Params) -> Params:
    policy = {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 30} | before | given
    if not 1 <= policy["jobExecutionTimeoutMinutes"] <= 360:
        raise refused(call, "jobExecutionTimeoutMinutes should be between 1 and 360")
    return policy


@handles("batch", "DeleteComputeEnvironment")
def delete(call: Call) -> Params:
    """Only a DISABLED environment that no queue names; ends its machines. No error for none."""
    environment = find(call, environments(call.cloud), call.params["computeEnvironment"])
    if environment is None:
        return {}
    with call.cloud.store.lock:
        if environment.view["state"] != "DISABLED":
            raise client_error("Cannot delete, state must be DISABLED")
        if environment.status in ("CREATING", "UPDATING"):
            raise client_error("Cannot delete, resource is being modified.")
        if _is_in_a_queue(call.cloud, environment):
            raise client_error("Cannot delete, found existing JobQueue relationship")
        environment.view["status"] = "DELETING"
    _remove(call.cloud, environment)
    return {}


def _is_in_a_queue(cloud: Cloud, environment: Environment) -> bool:
    return any(
        order["computeEnvironment"] == environment.arn
        for queue in queues(cloud).values()
        for order in queue.view["computeEnvironmentOrder"]
    )


def _remove(cloud: Cloud, environment: Environment) -> None:
    due = cloud.latency.due("environment_deleting")

    def job() -> None:
        if not end_machines(cloud, environment) or cloud.pause(due):
            return
        key = (environment.account, environment.region, environment.name)
        with cloud.store.lock:
            environments(cloud).pop(key, None)

    cloud.background(f"batch environment {environment.name}", job)


@lifecycle.at_start
def go_on(cloud: Cloud) -> None:
    """What was under way when the last process ended is taken up again."""
    for environment in list(environments(cloud).values()):
        if environment.unsettled is not None:
            settle(_own_call(cloud, environment), environment)
        elif environment.status == "DELETING":
            _remove(cloud, environment)


def _own_call(cloud: Cloud, environment: Environment) -> Call:
    """A call that Batch makes on its own account, for no request of a client."""
    return Call(cloud, "batch", "", {}, environment.region, environment.account, "", new_uuid())


@lists("environment")
def list_environments(cloud: Cloud) -> list[Item]:
    return [
        {
            "id": record.arn,
            "name": record.name,
            "region": record.region,
            "status": record.status,
            "state": record.view["state"],
        }
        for record in environments(cloud).values()
    ]
