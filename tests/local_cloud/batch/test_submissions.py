"""Jobs as they are submitted, listed and cancelled: what Batch takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.local_cloud.batch.agents import Work, register, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.local_cloud.samples import refused

MEMORY = {"type": "MEMORY", "value": "1024"}


@pytest.fixture
def work() -> Iterator[Work]:
    with make_world() as world:
        yield set_up(world)


def conditions(*said: dict[str, str], attempts: int | None = 2) -> dict[str, Any]:
    retry: dict[str, Any] = {"evaluateOnExit": list(said)}
    return {"retryStrategy": retry | ({"attempts": attempts} if attempts else {})}


def needs(kind: str, value: str) -> dict[str, Any]:
    return {"containerOverrides": {"resourceRequirements": [{"type": kind, "value": value}]}}


def test_jobs_are_listed_by_queue_by_status_or_by_one_filter(work: Work) -> None:
    register(work)
    first, second = work.submit("alpha", jobDefinition="job:1"), work.submit("beta")
    assert work.ended(first)["jobDefinition"].endswith(":job-definition/job:1")
    work.ended(second)
    of_first = work.job(first)["jobDefinition"]

    def listed(name: str = "", *values: str, **asked: Any) -> list[str]:
        filters = {"filters": [{"name": name, "values": values}]} if name else {}
        found = work.batch.list_jobs(jobQueue="work", **filters, **asked)["jobSummaryList"]
        return sorted(one["jobName"] for one in found)

    assert listed() == []
    assert listed(jobStatus="SUCCEEDED") == ["alpha", "beta"]
    assert listed("JOB_NAME", "AL*", jobStatus="RUNNING") == ["alpha"]
    assert listed("JOB_NAME", "*a") == []
    assert listed("JOB_DEFINITION", "job") == listed("JOB_DEFINITION", "j*") == ["alpha", "beta"]
    assert listed("JOB_DEFINITION", of_first) == ["alpha"]
    assert listed("JOB_DEFINITION", "JOB") == listed("JOB_DEFINITION", of_first[:-1] + "*") == []
    assert listed("AFTER_CREATED_AT", "0") == ["alpha", "beta"]
    assert listed("BEFORE_CREATED_AT", "0") == []


def test_a_list_of_jobs_comes_in_pages(work: Work) -> None:
    for name in ("one", "two", "three"):
        work.ended(work.submit(name))
    asked = {"jobQueue": "work", "jobStatus": "SUCCEEDED"}
    pages = work.batch.get_paginator("list_jobs").paginate(
        **asked, PaginationConfig={"PageSize": 2}
    )
    names = [[one["jobName"] for one in page["jobSummaryList"]] for page in pages]
    assert names == [["three", "two"], ["one"]]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"filters": [{"name": "JOB_NAME"}] * 2}, "ClientException", "Only one filter"),
        ({"filters": [{"name": "AFTER_CREATED_AT", "values": ["now"]}]}, "ClientException", "now"),
        ({"filters": [{"name": "SHARE_IDENTIFIER"}]}, "NotImplemented", "SHARE_IDENTIFIER"),
        ({"nextToken": "second"}, "ClientException", "nextToken second is not valid"),
        ({"maxResults": 0}, "ClientException", "maxResults should be at least 1"),
    ],
)
def test_lists_that_are_refused(work: Work, asked: dict[str, Any], code: str, said: str) -> None:
    refusal = refused(work.batch.list_jobs, jobQueue="work", **asked)
    assert refusal[0] == code
    assert said in refusal[1]


def test_the_older_overrides_do_not_reach_requirements_of_the_definition(work: Work) -> None:
    override: Any = {"vcpus": 2, "memory": 512}

    def wanted(job_id: str) -> dict[str, str]:
        held = work.job(job_id)["container"]["resourceRequirements"]
        return {one["type"]: one["value"] for one in held}

    assert wanted(work.submit(containerOverrides=override)) == {"VCPU": "4", "MEMORY": "1024"}
    register(work, resourceRequirements=[MEMORY], vcpus=1)
    assert wanted(work.submit(containerOverrides=override)) == {"VCPU": "2", "MEMORY": "1024"}
    assert wanted(work.submit(**needs("VCPU", "3"))) == {"VCPU": "3", "MEMORY": "1024"}


def test_a_pending_job_is_cancelled_once_all_that_it_depends_on_has_ended(work: Work) -> None:
    work.agent.hold.clear()
    first = work.submit("first")
    second = work.submit("second", dependsOn=[{"jobId": first}])
    third = work.submit("third", dependsOn=[{"jobId": second}])
    work.until(second, "PENDING")
    work.until(first, "RUNNING")
    work.batch.cancel_job(jobId=second, reason="not needed")
    job = work.job(second)
    assert (job["status"], job["isCancelled"]) == ("PENDING", True)
    work.agent.hold.set()
    job = work.ended(second)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "not needed", [])
    assert work.ended(first)["status"] == "SUCCEEDED"
    assert work.ended(third)["statusReason"] == "Dependent Job failed"


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"jobQueue": "none"}, "ClientException", "JobQueue none not found."),
        ({"jobDefinition": "none"}, "ClientException", "does not exist or is not in ACTIVE status"),
        ({"jobDefinition": "job:9"}, "ClientException", "JobDefinition name job:9"),
        ({"dependsOn": [{"jobId": "none"}]}, "ClientException", "none does not exist"),
        ({"timeout": {"attemptDurationSeconds": 5}}, "ClientException", "at least 60"),
        ({"retryStrategy": {"attempts": 11}}, "ClientException", "between 1 and 10"),
        (needs("GPU", "1.5"), "ClientException", "GPU is not valid: 1.5; a whole number"),
        (needs("VCPU", "0.5"), "ClientException", "VCPU is not valid: 0.5"),
        (needs("MEMORY", "3"), "ClientException", "MEMORY is not valid: 3"),
        (conditions({"action": "WAIT"}), "ClientException", "should be RETRY or EXIT"),
        (conditions({"action": "exit", "onExitCode": "x"}), "ClientException", "onExitCode"),
        (conditions({"action": "exit", "onReason": "a*b"}), "ClientException", "onReason"),
        (conditions({"action": "exit", "onReason": "*"}, attempts=None),
         "ClientException", "attempts must be given"),
        ({"tags": {str(number): "" for number in range(51)}}, "ClientException", "at most 50 tags"),
        ({"dependsOn": [{}]}, "ClientException", "A dependency needs a jobId"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "NotImplemented", "of type SEQUENTIAL"),
        ({"arrayProperties": {"size": 2}}, "NotImplemented", "arrayProperties"),
        ({"containerOverrides": {"instanceType": "m5.large"}}, "NotImplemented", "instanceType"),
    ],
)  # fmt: skip
def test_jobs_that_are_refused(work: Work, asked: dict[str, Any], code: str, said: str) -> None:
    wanted = {"jobName": "one", "jobQueue": "work", "jobDefinition": "job"} | asked
    refusal = refused(work.batch.submit_job, **wanted)
    assert refusal[0] == code
    assert said in refusal[1]


def test_the_queue_of_higher_priority_goes_first_where_two_share_an_environment(work: Work) -> None:
    work.batch.update_compute_environment(computeEnvironment="ce", computeResources={"maxvCpus": 4})
    work.world.settled("ce")
    order = [{"order": 1, "computeEnvironment": "ce"}]
    work.batch.create_job_queue(jobQueueName="urgent", priority=10, computeEnvironmentOrder=order)
    work.agent.hold.clear()
    first = work.submit("first")
    work.until(first, "RUNNING")
    later = work.submit("later")
    urgent = work.submit("urgent", jobQueue="urgent")
    work.until(later, "RUNNABLE")
    work.until(urgent, "RUNNABLE")
    work.agent.hold.set()
    assert work.ended(later)["startedAt"] >= work.ended(urgent)["stoppedAt"]
