"""ECS: clusters are moto's, container instances are ours; what would run tasks is refused."""

from __future__ import annotations

import json
import uuid

from local_cloud.call import Call, Params, handles
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services.ec2_model import instances, now


def _agents(cloud: Cloud) -> dict[str, Params]:
    """What DescribeContainerInstances shows, by ARN."""
    return cloud.store.table("ecs container instances")


def _cluster(call: Call) -> str:
    """The name of the cluster that the call means. Raises for one that is not there."""
    name = str(call.params.get("cluster") or "default").rsplit("/", 1)[-1]
    found = call.moto({"clusters": [name]}, action="DescribeClusters")["clusters"]
    if not any(one["clusterName"] == name and one["status"] == "ACTIVE" for one in found):
        raise AwsError("ClientException", "Cluster not found.")
    return name


def _in_cluster(call: Call, name: str) -> dict[str, Params]:
    start = f"arn:aws:ecs:{call.region}:{call.account}:container-instance/{name}/"
    return {arn: one for arn, one in list(_agents(call.cloud).items()) if arn.startswith(start)}


@handles("ecs", "RegisterContainerInstance")
def register(call: Call) -> Params:
    """What an agent calls when it comes up, with its machine's identity document."""
    name = _cluster(call)
    try:
        instance_id = json.loads(call.params["instanceIdentityDocument"])["instanceId"]
    except (KeyError, ValueError, TypeError):
        raise AwsError("ClientException", "An instance identity document is needed.") from None
    machine = instances(call.cloud).get(instance_id)
    if machine is None or machine.account != call.account:
        raise AwsError("ClientException", f"There is no instance {instance_id}.")
    arn = f"arn:aws:ecs:{call.region}:{call.account}:container-instance/{name}/{uuid.uuid4().hex}"
    one: Params = {
        "containerInstanceArn": arn, "ec2InstanceId": instance_id, "status": "ACTIVE",
        "agentConnected": True, "runningTasksCount": 0, "pendingTasksCount": 0, "version": 1,
        "registeredAt": now(), "attributes": call.params.get("attributes", []),
        "registeredResources": call.params.get("totalResources", []),
        "versionInfo": call.params.get("versionInfo", {}), "attachments": [],
    }  # fmt: skip
    _agents(call.cloud)[arn] = one
    return {"containerInstance": one}


@handles("ecs", "DescribeContainerInstances")
def describe(call: Call) -> Params:
    held = _in_cluster(call, _cluster(call))
    by_id = {arn.rsplit("/", 1)[-1]: one for arn, one in held.items()}
    found, missing = [], []
    for named in call.params["containerInstances"]:
        one = by_id.get(named.rsplit("/", 1)[-1])
        if one is None:
            missing.append({"arn": named, "reason": "MISSING"})
        else:
            found.append(one)
    return {"containerInstances": found, "failures": missing}


@handles("ecs", "ListContainerInstances")
def list_instances(call: Call) -> Params:
    if call.params.get("filter"):
        raise not_modelled("filters of container instances")
    status = call.params.get("status", "ACTIVE")
    held = _in_cluster(call, _cluster(call)).items()
    return {"containerInstanceArns": [arn for arn, one in held if one["status"] == status]}


@handles("ecs", "DeregisterContainerInstance")
def deregister(call: Call) -> Params:
    wanted = call.params["containerInstance"].rsplit("/", 1)[-1]
    for arn in _in_cluster(call, _cluster(call)):
        if arn.rsplit("/", 1)[-1] == wanted:
            gone = _agents(call.cloud).pop(arn)
            return {"containerInstance": gone | {"status": "INACTIVE"}}
    raise AwsError("InvalidParameterException", "Referenced container instance not found.")


def find_agent(cloud: Cloud, instance_id: str, *, cluster: str) -> str | None:
    """The container instance that a machine's agent is, once it registered with the cluster."""
    for arn, one in list(_agents(cloud).items()):
        if one["ec2InstanceId"] == instance_id and f":container-instance/{cluster}/" in arn:
            return arn
    return None


def forget_agent(cloud: Cloud, arn: str) -> None:
    """Take a machine that is terminated out of its cluster; may be repeated."""
    _agents(cloud).pop(arn, None)


@handles(
    "ecs", "RunTask", "StartTask", "CreateService", "UpdateService", "CreateTaskSet",
    "ExecuteCommand", "UpdateContainerInstancesState", "UpdateContainerAgent",
)  # fmt: skip
def refuse_tasks(call: Call) -> Params:
    raise not_modelled(f"ecs:{call.action} (containers run as Batch jobs)")
