"""Ask a cloud about itself from another process: the running one, or what a folder holds of it."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from local_cloud.calls import read_calls, summarise
from local_cloud.environment import default_state
from local_cloud.state import StateFolder


class NoCloudError(Exception):
    """There is no cloud to ask, or it does not answer; the message says where was looked."""


def get_inventory(state: Path | None) -> dict[str, Any]:
    """The inventory of the running cloud, or of the one saved in the folder (said on stderr)."""
    endpoint, folder = _find(state)
    if endpoint is not None:
        return _get(endpoint, "inventory")
    assert folder is not None
    from local_cloud.cloud import read_saved
    from local_cloud.inventory import take_inventory

    return take_inventory(read_saved(folder))


def get_calls(state: Path | None) -> dict[str, Any]:
    """The summary of the calls of the running cloud, or of the one saved in the folder."""
    endpoint, folder = _find(state)
    if endpoint is not None:
        return _get(endpoint, "calls")
    assert folder is not None
    return summarise(read_calls(StateFolder(folder).calls_path))


def get_jobs(state: Path | None) -> dict[str, Any]:
    """The timelines of the running cloud's Batch jobs, or of those that the folder holds."""
    endpoint, folder = _find(state)
    if endpoint is not None:
        return _get(endpoint, "jobs")
    assert folder is not None
    from local_cloud.cloud import read_saved
    from local_cloud.timelines import job_timelines

    return {"jobs": job_timelines(read_saved(folder))}


def get_network(state: Path | None) -> dict[str, Any]:
    """Where the machines of the running cloud are reached. NoCloudError where none run."""
    endpoint, _ = _find(state)
    found = _get(endpoint, "network") if endpoint is not None else {}
    if not found.get("namespace"):
        raise NoCloudError("no machines run: this cloud was stopped, or only records them")
    return found


def _find(state: Path | None) -> tuple[str | None, Path | None]:
    """An endpoint to ask, else a folder to read: --state first, then AWS_ENDPOINT_URL."""
    named = os.environ.get("AWS_ENDPOINT_URL")
    if state is None and named:
        return named, None
    path = state or default_state()
    folder = StateFolder(path)
    owner = folder.read_owner()
    if owner and owner.get("endpoint") and folder.is_owned():
        return str(owner["endpoint"]), None
    if not folder.pickle_path.exists():
        raise NoCloudError(
            f"no cloud found: AWS_ENDPOINT_URL is not set and {path} holds no saved cloud;"
            " name its folder with --state"
        )
    print(f"No cloud is running; this is what {path} holds.", file=sys.stderr)  # noqa: T201
    return None, path


def _get(endpoint: str, name: str) -> dict[str, Any]:
    url = f"{endpoint.rstrip('/')}/_local_cloud/{name}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            said = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NoCloudError(
            f"{endpoint} is no local cloud, or it does not answer: {error}"
        ) from None
    assert isinstance(said, dict)
    return said
