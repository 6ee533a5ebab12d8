"""ECS: clusters and container instances are moto's; what would run tasks is refused."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled


@handles("ecs", "RegisterContainerInstance")
def register_container_instance(call: Call) -> Params:
    """What an agent calls when it comes up; moto fails on a cluster that is not there."""
    name = call.params.get("cluster", "default").rsplit("/", 1)[-1]
    found = call.moto({"clusters": [name]}, action="DescribeClusters")["clusters"]
    if not any(one["clusterName"] == name and one["status"] == "ACTIVE" for one in found):
        raise AwsError("ClientException", "Cluster not found.")
    return call.moto()


@handles(
    "ecs", "RunTask", "StartTask", "CreateService", "UpdateService", "CreateTaskSet",
    "ExecuteCommand",
)  # fmt: skip
def refuse_tasks(call: Call) -> Params:
    raise not_modelled(f"ecs:{call.action} (containers run as Batch jobs)")
