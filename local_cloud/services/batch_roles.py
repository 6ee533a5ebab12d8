"""The roles that jobs run as: their containers' credentials, which the ECS agent serves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial

from local_cloud.call import Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.lifecycle import at_start
from local_cloud.machines.task_credentials import PATH
from local_cloud.services.batch_job_model import Job
from local_cloud.services.batch_model import new_uuid

TRUSTED = "ecs-tasks.amazonaws.com"
#: ECS renews a task's keys long before they end; here it is done when a container asks.
LIVE, RENEWED = timedelta(hours=6), timedelta(minutes=30)


def _grants(cloud: Cloud) -> dict[str, Params]:
    """By the ID in the credentials' path: whose role, for which task, and its keys so far."""
    return cloud.store.table("batch job roles")


@at_start
def serve(cloud: Cloud) -> None:
    cloud.machines.task_credentials = partial(find_credentials, cloud)


def grant(cloud: Cloud, job: Job, task: str) -> dict[str, str]:
    """What a job's container has in its environment to get its role's keys; {} without a role.

    Raises AwsError for a role that ECS may not take.
    """
    role = job.view["container"].get("jobRoleArn")
    if not role:
        return {}
    if not _may_take(cloud, job, role):
        raise AwsError(
            "TaskFailedToStart",
            f"ECS was unable to assume the role '{role}' that was provided for this task. Please"
            " verify that the role being passed has the proper trust relationship and permissions"
            " and that your IAM user has permissions to pass this role.",
        )
    identity = new_uuid()
    _grants(cloud)[identity] = {
        "account": job.account, "region": job.region, "role": role, "task": task,
    }  # fmt: skip
    return {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": PATH + identity}


def revoke(cloud: Cloud, task: str) -> None:
    """Forget what was granted to a task that ended; may be repeated."""
    for identity, held in list(_grants(cloud).items()):
        if held["task"] == task:
            _grants(cloud).pop(identity, None)


def find_credentials(cloud: Cloud, identity: str) -> dict[str, str] | None:
    """The keys of the role behind an ID, as the ECS agent gives them."""
    held = _grants(cloud).get(identity)
    if held is None:
        return None
    moment = datetime.now(UTC)
    with cloud.store.lock:
        if "keys" not in held or held["ends"] - moment < RENEWED:
            made = cloud.moto.invoke(
                "sts", "AssumeRole",
                {"RoleArn": held["role"], "RoleSessionName": held["task"]},
                region=held["region"], account=held["account"],
            )["Credentials"]  # fmt: skip
            held["ends"] = moment + LIVE
            held["keys"] = {
                "RoleArn": held["role"],
                "AccessKeyId": made["AccessKeyId"],
                "SecretAccessKey": made["SecretAccessKey"],
                "Token": made["SessionToken"],
                "Expiration": held["ends"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        return dict(held["keys"])


def _may_take(cloud: Cloud, job: Job, role: str) -> bool:
    """Whether the role is there and trusts ECS's tasks."""
    try:
        found = cloud.moto.invoke(
            "iam", "GetRole", {"RoleName": role.rsplit("/", 1)[-1]},
            region=job.region, account=job.account,
        )["Role"]  # fmt: skip
    except AwsError:
        return False
    trust = found.get("AssumeRolePolicyDocument")
    return TRUSTED in (trust if isinstance(trust, str) else json.dumps(trust))
