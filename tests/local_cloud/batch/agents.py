"""A stand-in for what an agent does on a recorded machine, and a place to run jobs in."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from local_cloud.services.batch_job_model import cancel_event
from tests.local_cloud.batch.conftest import World
from tests.waiting import until

IMAGE = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor:latest"
NEEDS = [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "1024"}]


@dataclass
class Agent:
    """Answers orders: every container ends with the next of `ends`, or 0; `hold` makes it run on.

    `starts` are the replies to the next starts, where they shall not succeed.
    """

    machines: RecordedMachines
    orders: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    out_of_time: bool = False

    def __post_init__(self) -> None:
        self.hold.set()
        self.machines.answer = self.answer

    def answer(self, instance_id: str, script: Script) -> Outcome:
        if not script.lines[1].startswith("ORDER_TEXT"):
            return outcome({})
        order = json.loads(base64.b64decode(script.lines[1].split('"')[1]))
        self.orders.append(order)
        if order["do"] == "hello":
            return outcome({"gpus": ["GPU-0"], "settings": {}})
        if order["do"] == "start":
            if self.starts:
                return outcome(self.starts.pop(0))
            moment = time.time()
            return outcome({"image_ready": moment, "started": moment, "image": {"how": "cached"}})
        if order["do"] == "stop":
            return outcome({"exit": 143, "stopped": time.time()})
        return self._wait(instance_id, order["name"])

    def _wait(self, instance_id: str, name: str) -> Outcome:
        started = next(one for one in self.orders if one["do"] == "start" and one["name"] == name)
        asked = dict(one.split("=", 1) for one in started["container"]["Env"])
        cancel = cancel_event(asked["AWS_BATCH_JOB_ID"])
        if self.out_of_time:
            return outcome(None, status="TimedOut")
        while not self.hold.wait(0.02):
            if cancel.is_set():
                return outcome(None, status="Cancelled")
            if not self.machines.is_up(instance_id):
                return outcome(None, status="Failed")
        return outcome(self.ends.pop(0) if self.ends else {"exit": 0})

    def containers(self) -> list[dict[str, Any]]:
        """What was started, in order, as Docker got it."""
        return [one["container"] for one in self.orders if one["do"] == "start"]


def outcome(said: dict[str, Any] | None, *, status: Any = "Success") -> Outcome:
    moment = datetime.now(UTC)
    text = b"" if said is None else json.dumps(said).encode()
    code = 0 if status == "Success" else -1
    return Outcome(
        status=status, exit_code=code, stdout=text, stderr=b"", started=moment, ended=moment
    )


@dataclass
class Work:
    """A queue over one environment, and a job definition `job`."""

    world: World
    agent: Agent

    @property
    def batch(self) -> Any:
        return self.world.batch

    def submit(self, name: str = "one", **more: Any) -> str:
        asked = {"jobName": name, "jobQueue": "work", "jobDefinition": "job"} | more
        return str(self.batch.submit_job(**asked)["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return found

    def until(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it has one of the statuses."""
        return self.when(job_id, lambda job: job["status"] in statuses)

    def when(self, job_id: str, true: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The job once this holds for it."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if true(job) else None

        return until(look)

    def tried_again(self, job_id: str) -> dict[str, Any]:
        """The job once it runs in another attempt."""
        return self.when(job_id, lambda job: job["status"] == "RUNNING" and job["attempts"])

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, "SUCCEEDED", "FAILED")

    def machines(self, *states: str) -> list[dict[str, Any]]:
        """Batch's machines that are in a state (running, where none is named)."""
        named = [{"Name": "instance-state-name", "Values": list(states or ("running",))}]
        found = self.world.ec2.describe_instances(Filters=named)["Reservations"]
        return [one for each in found for one in each["Instances"]]

    def machine_of(self, job: dict[str, Any]) -> dict[str, Any]:
        """The machine that a job is or was on."""
        arn = job["container"]["containerInstanceArn"]
        from local_cloud.services.batch_job_model import hosts

        held = hosts(self.world.cloud).values()
        wanted = next(one.instance_id for one in held if one.container_instance == arn)
        return next(one for one in self.machines() if one["InstanceId"] == wanted)


def set_up(world: World, **changes: Any) -> Work:
    """An environment, a queue and a job definition in a world that has none yet.

    Its machines have an `Agent` where they are recorded.
    """
    machines = world.cloud.machines
    agent = Agent(machines if isinstance(machines, RecordedMachines) else RecordedMachines())
    world.create("ce", **changes)
    world.batch.create_job_queue(
        jobQueueName="work",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}],
    )
    work = Work(world, agent)
    register(work)
    return work


def register(work: Work, **changes: Any) -> None:
    """The next revision of the job definition `job`."""
    container = {"image": IMAGE, "command": ["run"], "resourceRequirements": NEEDS}
    more = {name: changes.pop(name) for name in ("retryStrategy", "timeout") if name in changes}
    work.batch.register_job_definition(
        jobDefinitionName="job", type="container", containerProperties=container | changes, **more
    )
