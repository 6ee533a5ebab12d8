"""Job queues, job definitions and their revisions, and plain refusals of what runs no jobs yet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local_cloud.samples import refused
from tests.waiting import until

CONTAINER: dict[str, Any] = {
    "image": "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/app@sha256:" + "0" * 64,
    "resourceRequirements": [
        {"type": "VCPU", "value": "4"},
        {"type": "MEMORY", "value": "1024"},
        {"type": "GPU", "value": "1"},
    ],
}


@pytest.fixture(scope="module")
def environment(world: Any) -> str:
    return str(world.create("for-queues")["computeEnvironmentArn"])


def queue(world: Any, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: list[dict[str, Any]] = world.batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        return next((one for one in found if one["status"] == "VALID"), None)

    return until(look)


def test_a_queue_lives_and_ends(world: Any, environment: str) -> None:
    batch = world.batch
    batch.create_job_queue(
        jobQueueName="work",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "for-queues"}],
        tags={"a": "b"},
    )
    made = queue(world, "work")
    assert made["computeEnvironmentOrder"] == [{"order": 1, "computeEnvironment": environment}]
    assert (made["state"], made["tags"]) == ("ENABLED", {"a": "b"})
    assert "DISABLED" in refused(batch.delete_job_queue, jobQueue="work")[1]
    batch.update_job_queue(jobQueue=made["jobQueueArn"], state="DISABLED", priority=7)
    assert queue(world, "work")["priority"] == 7
    batch.delete_job_queue(jobQueue="work")
    batch.delete_job_queue(jobQueue="work")


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ([], "At least one compute environment"),
        ([{"order": 1, "computeEnvironment": "nowhere"}], "nowhere does not exist"),
        (
            [{"order": n, "computeEnvironment": "for-queues"} for n in (1, 2)],
            "only once",
        ),
        (
            [{"order": n, "computeEnvironment": "for-queues"} for n in (1, 2, 3, 4)],
            "at most 3",
        ),
    ],
)
def test_a_queue_needs_environments_that_are_there(
    world: Any, environment: str, orders: list[dict[str, Any]], said: str
) -> None:
    code, message = refused(
        world.batch.create_job_queue,
        jobQueueName="wrong",
        priority=1,
        computeEnvironmentOrder=orders,
    )
    assert code == "ClientException"
    assert said in message


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"maxTimeSeconds": 60}, "maxTimeSeconds should be between 600 and 86400"),
        ({"action": "TERMINATE"}, "should be CANCEL"),
    ],
)
def test_a_queues_limits_of_waiting_are_checked(
    world: Any, environment: str, limit: dict[str, Any], said: str
) -> None:
    reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    whole = {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    code, message = refused(
        world.batch.create_job_queue,
        jobQueueName="limited",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        jobStateTimeLimitActions=[whole | limit],
    )
    assert code == "ClientException"
    assert said in message


def test_every_registration_is_a_new_revision(world: Any) -> None:
    batch = world.batch
    register = {
        "jobDefinitionName": "job",
        "type": "container",
        "containerProperties": CONTAINER,
    }
    first, second = (batch.register_job_definition(**register) for _ in range(2))
    assert (first["revision"], second["revision"]) == (1, 2)
    assert second["jobDefinitionArn"].endswith(":job-definition/job:2")
    batch.deregister_job_definition(jobDefinition=second["jobDefinitionArn"])
    assert batch.register_job_definition(**register)["revision"] == 3
    active = batch.describe_job_definitions(jobDefinitionName="job", status="ACTIVE")
    assert [each["revision"] for each in active["jobDefinitions"]] == [3, 1]
    gone = batch.describe_job_definitions(jobDefinitions=["job:2"])["jobDefinitions"][0]
    assert gone["status"] == "INACTIVE"
    assert gone["containerProperties"] == CONTAINER
    assert "platformCapabilities" not in gone  # Terraform would plan to take away what it shows


def test_revisions_come_in_pages(world: Any) -> None:
    for _ in range(3):
        world.batch.register_job_definition(
            jobDefinitionName="paged", type="container", containerProperties=CONTAINER
        )
    pages = world.batch.get_paginator("describe_job_definitions").paginate(
        jobDefinitionName="paged", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["jobDefinitions"]) for page in pages] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"containerProperties": {}}, "image"),
        ({"containerProperties": {"image": "x"}}, "memory"),
        ({"timeout": {"attemptDurationSeconds": 30}}, "at least 60"),
        ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
        ({"containerProperties": {"image": "x", "vcpus": 1, "memory": 3}}, "MEMORY is not valid"),
        (
            {"containerProperties": CONTAINER | {"mountPoints": [{"sourceVolume": "models"}]}},
            "Unknown volume 'models'",
        ),
    ],
)
def test_definitions_that_batch_refuses(world: Any, changes: dict[str, Any], said: str) -> None:
    params = {"type": "container", "containerProperties": CONTAINER} | changes
    code, message = refused(world.batch.register_job_definition, jobDefinitionName="bad", **params)
    assert code == "ClientException"
    assert said in message


def test_what_is_not_modelled_is_refused_and_never_a_success(world: Any) -> None:
    array = {"arrayProperties": {"size": 2}}
    submit = {"jobName": "j", "jobQueue": "work", "jobDefinition": "job"} | array
    assert refused(world.batch.submit_job, **submit)[0] == "NotImplemented"
    assert refused(world.batch.list_scheduling_policies)[0] == "NotImplemented"
    multinode = {"jobDefinitionName": "many", "type": "multinode"}
    assert refused(world.batch.register_job_definition, **multinode)[0] == "NotImplemented"


def test_the_inventory_lists_what_is_there_and_only_active_revisions(world: Any) -> None:
    from local_cloud.inventory import take_inventory

    made = world.batch.register_job_definition(
        jobDefinitionName="listed", type="container", containerProperties=CONTAINER
    )
    listed = take_inventory(world.cloud)
    assert made["jobDefinitionArn"] in {item["id"] for item in listed["job definition"]}
    world.batch.deregister_job_definition(jobDefinition="listed:1")
    listed = take_inventory(world.cloud)
    assert made["jobDefinitionArn"] not in {item["id"] for item in listed["job definition"]}
    assert "for-queues" in {item["name"] for item in listed["environment"]}
