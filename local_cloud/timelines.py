"""When each stage of each Batch job was reached: for `python -m local_cloud jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

#: The stages of an attempt in their order, and how they are called.
STAGES = {
    "submitted": "submitted",
    "runnable": "could run",
    "machine_launched": "machine launched",
    "machine_up": "machine up",
    "agent_up": "agent up",
    "placed": "on its machine",
    "image_ready": "image ready",
    "started": "container started",
    "stopped": "container stopped",
}


def job_timelines(cloud: Cloud) -> list[dict[str, Any]]:
    """Every job, oldest first, with one timeline for each attempt.

    `times` are seconds since 1970. `image` says how the image came: cached, or pulled. A machine
    that was up before the job has `reused`, and its own stages lie before the job's.
    """
    with cloud.store.lock:
        return [
            {
                "id": job.view["jobId"],
                "name": job.view["jobName"],
                "queue": str(job.view["jobQueue"]).rsplit("/", 1)[-1],
                "status": job.view["status"],
                "reason": job.view.get("statusReason", ""),
                "attempts": [_attempt(one) for one in job.timelines],
            }
            for job in cloud.store.table("batch jobs").values()
        ]


def _attempt(timeline: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": timeline.get("instance"),
        "ami": timeline.get("image_id"),
        "reused": timeline.get("reused", False),
        "image": timeline.get("image"),
        "times": {name: timeline[name] for name in STAGES if timeline.get(name)},
    }


def in_words(jobs: list[dict[str, Any]]) -> str:
    """The timelines for a reader, in seconds after the job (or its next attempt) could run."""
    lines: list[str] = []
    for job in jobs:
        lines.append(f"{job['name']}  {job['id']}  {job['status']}  {job['reason']}".rstrip())
        for number, attempt in enumerate(job["attempts"], start=1):
            times = attempt["times"]
            zero = times["submitted"] if number == 1 else times["runnable"]
            if len(job["attempts"]) > 1:
                lines.append(f"  attempt {number}")
            if attempt["machine"]:
                used = ", was up before" if attempt["reused"] else ""
                lines.append(f"  on {attempt['machine']} ({attempt['ami']}{used})")
            for name, title in STAGES.items():
                if name in times and name != "runnable" and (number == 1 or name != "submitted"):
                    how = f"  {attempt['image']['how']}" if name == "image_ready" else ""
                    lines.append(f"  {times[name] - zero:8.2f} s  {title}{how}")
    return "\n".join(lines) if lines else "No job was submitted."
