"""A job as its machine's agent gets it: Docker's container, and the script that carries it out."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from local_cloud.machines.contract import Outcome, Script

Params = dict[str, Any]
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_.-]+)")
#: A job runs for so long at most, in seconds, where nothing else ends it (Batch: 14 days and more).
LONGEST_S = 14 * 24 * 3600.0


@cache
def _guest() -> str:
    return (files("local_cloud.jobs") / "guest.py").read_text(encoding="utf-8")


def script(order: Params, *, command_id: str, timeout_s: float = 600.0) -> Script:
    """The agent's part of one step. The order is in the script's text, never in an argument."""
    text = base64.b64encode(json.dumps(order).encode()).decode()
    lines = (
        "exec python3 - <<'END_OF_AGENT'",
        f'ORDER_TEXT = "{text}"',
        *_guest().splitlines(),
        "END_OF_AGENT",
    )
    return Script(command_id=command_id, lines=lines, timeout_s=timeout_s)


def reply(outcome: Outcome, *, nominal: Params) -> Params:
    """What the agent said; `nominal` where nothing ran and nothing was said (recorded machines)."""
    said = outcome.stdout.decode(errors="replace").strip()
    if said:
        try:
            found = json.loads(said.splitlines()[-1])
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
    if outcome.status == "Success":
        return nominal
    wrong = outcome.stderr.decode(errors="replace").strip()[-300:]
    return {"failed": f"AgentError: {wrong or outcome.status}", "lost": True}


def command_of(container: Params, parameters: dict[str, str]) -> list[str]:
    """The command with its `Ref::name` words replaced by the job's parameters."""

    def put(match: re.Match[str]) -> str:
        return parameters.get(match[1], match[0])

    return [_REFERENCE.sub(put, word) for word in container.get("command") or []]


def docker_container(container: Params, *, command: list[str], job: Params) -> Params:
    """The body of Docker's create call, as the ECS agent makes it from a Batch job.

    `job` has `environment` (Batch's own variables), `vcpus`, `memory` in MiB, `gpu_ids`, `labels`
    and `log` (Docker's LogConfig). CPUs are shares, memory is a limit, the network is the host's
    (Batch user guide, "Job definition parameters"); a GPU comes by NVIDIA's runtime.
    """
    environment = {one["name"]: one.get("value", "") for one in container.get("environment") or []}
    environment |= job["environment"]
    linux = container.get("linuxParameters") or {}
    host: Params = {
        "Memory": job["memory"] * 1024**2,
        "CpuShares": max(2, int(job["vcpus"] * 1024)),
        "NetworkMode": "host",
        "LogConfig": job["log"],
        "Binds": _binds(container),
        "Privileged": bool(container.get("privileged")),
        "ReadonlyRootfs": bool(container.get("readonlyRootFilesystem")),
        "Ulimits": [
            {"Name": one["name"], "Soft": one["softLimit"], "Hard": one["hardLimit"]}
            for one in container.get("ulimits") or []
        ],
        "Devices": [_device(one) for one in linux.get("devices") or []],
        "Tmpfs": {
            one["containerPath"]: ",".join([f"size={one['size']}m", *one.get("mountOptions", [])])
            for one in linux.get("tmpfs") or []
        },
    }
    if linux.get("initProcessEnabled"):
        host["Init"] = True
    if linux.get("sharedMemorySize"):
        host["ShmSize"] = linux["sharedMemorySize"] * 1024**2
    if linux.get("maxSwap") is not None:
        host["MemorySwap"] = host["Memory"] + linux["maxSwap"] * 1024**2
        host["MemorySwappiness"] = linux.get("swappiness", 60)
    if job["gpu_ids"]:
        host["Runtime"] = "nvidia"
        environment["NVIDIA_VISIBLE_DEVICES"] = ",".join(job["gpu_ids"])
    made: Params = {
        "Image": container["image"],
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": job["labels"],
        "HostConfig": host,
    }
    if command:
        made["Cmd"] = command
    if container.get("user"):
        made["User"] = container["user"]
    return made


def _binds(container: Params) -> list[str]:
    """Host folders under their container paths; a volume without a host path lives with Docker."""
    sources = {
        volume["name"]: (volume.get("host") or {}).get("sourcePath")
        for volume in container.get("volumes") or []
    }
    binds = []
    for mount in container.get("mountPoints") or []:
        source = sources[mount["sourceVolume"]] or f"batch-{mount['sourceVolume']}"
        mode = "ro" if mount.get("readOnly") else "rw"
        binds.append(f"{source}:{mount['containerPath']}:{mode}")
    return binds


def _device(one: Params) -> Params:
    letters = {"READ": "r", "WRITE": "w", "MKNOD": "m"}
    allowed = one.get("permissions") or list(letters)
    return {
        "PathOnHost": one["hostPath"],
        "PathInContainer": one.get("containerPath") or one["hostPath"],
        "CgroupPermissions": "".join(letters[name] for name in allowed),
    }
