"""Batch's records live with the cloud's state folder, and what was under way is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.cloud import Cloud
from local_cloud.services.batch_model import environments, queues

KEY = ("123456789012", "ap-northeast-2", "kept")


def client(cloud: Cloud) -> Any:
    session = boto3.Session("local", "local", region_name=cloud.region)
    return session.client("batch", endpoint_url=cloud.endpoint)


def test_what_was_under_way_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        batch.create_compute_environment(computeEnvironmentName="kept", type="UNMANAGED")
        while environments(cloud)[KEY].status != "VALID":
            batch.describe_compute_environments(computeEnvironments=["kept"])
        batch.create_job_queue(
            jobQueueName="kept",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "kept"}],
        )
        while queues(cloud)[KEY].view["status"] != "VALID":
            batch.describe_job_queues(jobQueues=["kept"])
        monkeypatch.setattr(cloud, "background", lambda _name, _job: None)  # as if killed here
        batch.update_job_queue(jobQueue="kept", state="DISABLED")
        batch.update_compute_environment(computeEnvironment="kept", state="DISABLED")
        assert environments(cloud)[KEY].status == "UPDATING"
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        while environments(cloud)[KEY].status != "VALID":
            batch.describe_compute_environments(computeEnvironments=["kept"])
        while queues(cloud)[KEY].view["status"] != "VALID":
            batch.describe_job_queues(jobQueues=["kept"])
        monkeypatch.setattr(cloud, "background", lambda _name, _job: None)
        batch.delete_job_queue(jobQueue="kept")
        assert queues(cloud)[KEY].view["status"] == "DELETING"
    with Cloud(state=tmp_path, real=False, say=lambda _: None) as cloud:
        batch = client(cloud)
        while KEY in queues(cloud):
            batch.describe_job_queues(jobQueues=["kept"])
        batch.delete_compute_environment(computeEnvironment="kept")
        while KEY in environments(cloud):
            batch.describe_compute_environments(computeEnvironments=["kept"])
