"""Batch's jobs and the machines they run on, as this cloud keeps them, in tables of its store."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import cache

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.services.batch_model import Record, new_uuid

ENDED = ("SUCCEEDED", "FAILED")
#: On a machine, or about to be.
PLACED = ("STARTING", "RUNNING")


@dataclass(frozen=True)
class Needs:
    """What a job asks of a machine: vCPUs, MiB of memory, GPUs."""

    vcpus: float
    memory: int
    gpus: int


@dataclass
class Job(Record):
    """A job. `view` is what DescribeJobs shows; times in it are milliseconds since 1970.

    `timelines` has one entry for each attempt: the time of each stage, in seconds since 1970.
    `why_stopped` is the status reason of an attempt that somebody ends before its container does.
    """

    queue: str = ""
    needs: Needs = field(default_factory=lambda: Needs(1, 1, 0))
    #: The machine it is on, by the host's key, and which of the machine's GPUs it has.
    host: str | None = None
    gpus: list[str] = field(default_factory=list)
    timelines: list[Params] = field(default_factory=list)
    why_stopped: str | None = None
    #: Whether what ended the attempt forbids another one.
    no_retry: bool = False

    @property
    def id(self) -> str:
        return str(self.view["jobId"])

    @property
    def status(self) -> str:
        return str(self.view["status"])

    @property
    def timeline(self) -> Params:
        """The current attempt's."""
        return self.timelines[-1]


@dataclass
class Host:
    """A machine that Batch launched. `generation` says for which infrastructure update.

    `state` is LAUNCHING, READY (its agent is in the cluster) or GONE. Times are seconds since 1970.
    `gpu_ids` are what its agent offers to jobs.
    """

    environment: str
    cluster: str
    account: str
    region: str
    generation: int
    type: str
    offers: Needs
    key: str = field(default_factory=new_uuid)
    instance_id: str = ""
    state: str = "LAUNCHING"
    container_instance: str = ""
    gpu_ids: list[str] = field(default_factory=list)
    image_id: str = ""
    launched: float = 0.0
    up: float = 0.0
    agent_up: float = 0.0
    idle_since: float = 0.0


def jobs(cloud: Cloud) -> dict[str, Job]:
    """By job ID, in the order they were submitted."""
    return cloud.store.table("batch jobs")


def hosts(cloud: Cloud) -> dict[str, Host]:
    """By the key that each got before it had an instance ID."""
    return cloud.store.table("batch hosts")


def find_job(call: Call, job_id: str) -> Job | None:
    """The caller's job with this ID (an ARN works too, as it does for AWS)."""
    job = jobs(call.cloud).get(job_id.rsplit("/", 1)[-1])
    if job is None or (job.account, job.region) != (call.account, call.region):
        return None
    return job


def milliseconds(moment: float) -> int:
    """A time in seconds as Batch gives it."""
    return round(moment * 1000)


def stage(job: Job, name: str, moment: float | None = None) -> None:
    """Note that the job's current attempt reached a stage."""
    job.timeline[name] = time.time() if moment is None else moment


#: Set to let the scheduler look again at once.
wake = threading.Event()
_cancels: dict[str, threading.Event] = {}


def cancel_event(job_id: str) -> threading.Event:
    """Set to end the job's current attempt; it is cleared when the next one starts."""
    return _cancels.setdefault(job_id, threading.Event())


def wanted_types(resources: Params) -> list[str]:
    """The machine types an environment may use; a family stands for all its sizes.

    `optimal` is taken as m5, c5 and r5 (Batch: the newest of those families in the region).
    """
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    found: list[str] = []
    for name in resources["instanceTypes"]:
        families = ["m5", "c5", "r5"] if name == "optimal" else [name]
        if name in INSTANCE_TYPES:
            found.append(name)
        else:
            found += [one for one in INSTANCE_TYPES if one.partition(".")[0] in families]
    return found


@cache
def offers_of(name: str) -> Needs:
    """What a machine of a type has for jobs.

    The kernel and the firmware keep some of a type's memory, so that the ECS agent registers less:
    4 % here, as AWS gives no figure (user guide, "Compute resource memory management").
    """
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    details = INSTANCE_TYPES[name]
    gpus = sum(gpu["Count"] for gpu in details.get("GpuInfo", {}).get("Gpus", []))
    memory = int(details["MemoryInfo"]["SizeInMiB"] * 0.96)
    return Needs(details["VCpuInfo"]["DefaultVCpus"], memory, gpus)
