"""When each stage of each Batch job was reached: for `python -m local_cloud jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

#: The stages of an attempt in their order, and how they are called.
STAGES = {
    "submitted": "submitted",
    "runnable": "runnable",
    "machine_launched": "machine launched",
    "machine_up": "machine up",
    "agent_up": "agent up",
    "placed": "placed",
    "image_ready": "image ready",
    "started": "container started",
    "stopped": "container stopped",
}
#: What a table shows of them.
COLUMNS = {
    name: STAGES[name] for name in ("machine_up", "agent_up", "image_ready", "started", "stopped")
}
BEFORE_THE_JOB = ("machine_launched", "machine_up", "agent_up")
UNITS = "Seconds after SubmitJob; of a later attempt, after it could run."


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
    """A table for a reader: a line an attempt, in seconds after it was asked for."""
    if not jobs:
        return "No job was submitted."
    rows = [["job", "", "status", *COLUMNS.values(), "image", "AMI", "machine"]]
    reasons = []
    for job in jobs:
        for number, attempt in enumerate(job["attempts"], start=1):
            last = number == len(job["attempts"])
            status = job["status"] if last else "tried again"
            rows.append([job["name"], str(job["id"])[:8], status, *_cells(attempt, number)])
        if job["status"] not in ("SUCCEEDED", "RUNNING") and job["reason"]:
            reasons.append(f"{job['name']} {str(job['id'])[:8]}: {job['reason']}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last_time = 3 + len(COLUMNS)
    lines = [
        "  ".join(
            cell.rjust(width) if 3 <= at < last_time else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, UNITS, *reasons])


def _cells(attempt: dict[str, Any], number: int) -> list[str]:
    times = attempt["times"]
    zero = times["submitted"] if number == 1 else times["runnable"]
    cells = []
    for name in COLUMNS:
        if name in BEFORE_THE_JOB and attempt["reused"]:
            cells.append("before")
        else:
            cells.append(f"{times[name] - zero:.2f}" if name in times else "-")
    how = attempt["image"]["how"] if attempt["image"] else "-"
    return [*cells, how, attempt["ami"] or "-", attempt["machine"] or "-"]
