"""`python -m local_cloud jobs`, and the settings that change while a cloud runs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.batch_settings import SettingsError, settings_from_environment
from local_cloud.timelines import job_timelines
from tests.local_cloud.batch.agents import Work, set_up
from tests.local_cloud.batch.conftest import make_world
from tests.local_cloud.conftest import local_cloud


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    with make_world() as world:
        yield set_up(world)


def put(work: Work, settings: Any) -> dict[str, Any]:
    url = f"{work.world.cloud.endpoint}/_local_cloud/batch"
    asked = urllib.request.Request(url, json.dumps(settings).encode(), method="PUT")
    with urllib.request.urlopen(asked, timeout=300) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


def test_there_is_a_line_for_each_attempt_of_each_job(work: Work) -> None:
    assert local_cloud("jobs", AWS_ENDPOINT_URL=work.world.cloud.endpoint).stdout == (
        "No job was submitted.\n"
    )
    work.agent.ends = [{"exit": 7}, {"exit": 0}]
    first = work.ended(work.submit("twice", retryStrategy={"attempts": 2}))
    work.agent.starts = [{"failed": "CannotPullContainerError: no such image"}]
    second = work.ended(work.submit("broken"))

    shown = local_cloud("jobs", AWS_ENDPOINT_URL=work.world.cloud.endpoint).stdout.splitlines()

    heading, tried, succeeded, broken, units, reason = shown
    assert heading.split("  ")[0] == "job"
    for title in ("machine up", "agent up", "image ready", "container started"):
        assert title in heading
    image = work.world.image
    assert tried.split()[:4] == ["twice", first["jobId"][:8], "tried", "again"]
    assert "cached" in tried
    assert image in tried
    assert succeeded.split()[2:5] == ["SUCCEEDED", "before", "before"]
    assert broken.split()[2:7] == ["FAILED", "before", "before", "-", "-"]
    assert len({line.index(image) for line in (tried, succeeded, broken)}) == 1
    assert units.startswith("Seconds after SubmitJob")
    assert reason == f"broken {second['jobId'][:8]}: Task failed to start"


def test_the_timelines_as_json_are_what_the_cloud_has(work: Work) -> None:
    job = work.ended(work.submit("one"))
    said = local_cloud("jobs", "--json", AWS_ENDPOINT_URL=work.world.cloud.endpoint)
    jobs = json.loads(said.stdout)["jobs"]
    assert jobs == job_timelines(work.world.cloud)
    (attempt,) = next(one["attempts"] for one in jobs if one["id"] == job["jobId"])
    order = ("submitted", "runnable", "placed", "image_ready", "started", "stopped")
    times = [attempt["times"][name] for name in order]
    assert times == sorted(times)


def test_settings_change_while_the_cloud_runs_and_wrong_ones_are_named(work: Work) -> None:
    assert put(work, {"minute_s": 2}) == {"ami_reading": "guide", "idle_s": 60.0, "minute_s": 2.0}
    assert put(work, {"ami_reading": "strict"})["minute_s"] == 2.0
    assert work.world.cloud.batch.ami_reading == "strict"
    for wrong, name in (({"ami_reading": "lax"}, "ami_reading"), ({"hour": 1}, "hour"), (3, "")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(work, wrong)
        assert refused.value.code == 400
        assert name in json.load(refused.value)["error"]
    assert work.world.cloud.batch.ami_reading == "strict"


def test_settings_of_the_environment_are_read_and_wrong_ones_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_CLOUD_BATCH_IDLE_S", "5")
    assert settings_from_environment().idle_s == 5
    monkeypatch.setenv("LOCAL_CLOUD_BATCH_MINUTE_S", "soon")
    with pytest.raises(SettingsError, match="LOCAL_CLOUD_BATCH_MINUTE_S='soon'"):
        settings_from_environment()
    ran = local_cloud("run", "--recorded", "--", "true")
    assert ran.returncode == 1
    assert "LOCAL_CLOUD_BATCH_MINUTE_S='soon'" in ran.stderr
