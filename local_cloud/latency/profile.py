"""Latency profiles: how long each transition takes, read from a JSON file or one of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

#: The profiles that come with the local cloud, `<name>.json`.
BUILT_IN = Path(__file__).parent / "profiles"


class ProfileError(Exception):
    """The profile cannot be used; the message names it, the figure, and what is possible."""


def _in_order(given: tuple[float, float]) -> tuple[float, float]:
    if given[0] > given[1]:
        raise ValueError("a range goes from the smaller to the larger figure")
    return given


NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
#: Seconds: one figure, or `[from, to]`, of which each use draws one.
Seconds = NotNegative | Annotated[tuple[NotNegative, NotNegative], AfterValidator(_in_order)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class LinkSpeed(BaseModel):
    """The way between a machine and AWS: in MB/s (10^6 bytes) for each direction, None for no
    limit.

    `machine_mb_per_s` is for all connections of one machine together. `round_trip_ms` is waited
    for once by each request, and once or twice (TLS) by each new connection.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine_mb_per_s: Rate | None = None
    connection_mb_per_s: Rate | None = None
    round_trip_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class ColdVolumes(BaseModel):
    """Volumes made from snapshots: their first reads, all readers together, in MB/s (10^6 bytes).

    None: they are warm from the start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_read_mb_per_s: Rate | None = None


class Profile(BaseModel):
    """How long each thing takes; all is at once where nothing is said. Seconds but for the two
    parts at the end; `about` and `sources` are for readers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = ""
    sources: dict[str, str] = Field(default_factory=dict)
    #: What the draws from ranges begin with.
    seed: int = 0

    #: Every AWS call but S3's, before it has an effect.
    call: Seconds = 0
    #: RunInstances and CreateFleet until they answer: capacity is looked for.
    launch: Seconds = 0
    instance_pending: Seconds = 0
    instance_stopping: Seconds = 0
    instance_shutting_down: Seconds = 0
    #: From `running`, until the SSM agent can be reached.
    agent_offline: Seconds = 0
    #: From `running`, until the status checks have passed.
    status_initializing: Seconds = 0
    #: From SendCommand until the script starts.
    command_pending: Seconds = 0
    #: CreateImage: the image and its snapshots.
    image_pending: Seconds = 0
    #: CopyImage and CopySnapshot.
    copy_pending: Seconds = 0
    snapshot_pending: Seconds = 0
    #: On top, for each GiB that a snapshot, image or copy holds.
    snapshot_per_gib: Seconds = 0
    volume_creating: Seconds = 0
    environment_creating: Seconds = 0
    environment_updating: Seconds = 0
    environment_deleting: Seconds = 0
    #: Batch's job queues, made, updated or deleted.
    queue_changing: Seconds = 0
    #: From Batch's decision to launch a machine until it does.
    batch_scaling: Seconds = 0

    link: LinkSpeed = LinkSpeed()
    cold_volumes: ColdVolumes = ColdVolumes()


def names() -> list[str]:
    """The built-in profiles."""
    return sorted(path.stem for path in BUILT_IN.glob("*.json"))


def read_profile(given: str) -> Profile:
    """A built-in profile by its name, or a JSON file by its path. Raises ProfileError."""
    path = BUILT_IN / f"{given}.json" if given in names() else Path(given)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"latency profile {given}: neither a built-in one ({', '.join(names())}) nor a file"
            f" that can be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ProfileError(f"latency profile {given}: not JSON: {error}") from error
    return profile_of(said, called=f"latency profile {given}")


def profile_of(said: Any, *, called: str = "latency profile") -> Profile:
    """A profile from JSON: an object, or the name of a built-in one. Raises ProfileError."""
    if isinstance(said, str):
        return read_profile(said)
    if not isinstance(said, dict):
        raise ProfileError(f"{called}: a JSON object of figures is needed")
    unknown = sorted(set(said) - set(Profile.model_fields))
    if unknown:
        figures = [name for name in Profile.model_fields if name not in ("about", "sources")]
        raise ProfileError(
            f"{called}: {', '.join(unknown)}: no such figure; there are {', '.join(figures)}"
        )
    try:
        return Profile.model_validate(said)
    except ValidationError as error:
        faults: dict[str, str] = {}
        for one in error.errors():
            figure, *rest = map(str, one["loc"])
            inner = f".{rest[0]}" if figure in ("link", "cold_volumes") and rest else ""
            name = figure + inner
            if name not in faults or isinstance(said[figure], list):  # the range's own fault
                faults[name] = one["msg"]
        told = "; ".join(
            f"{name}: {_shown(said, name)}: {message}" for name, message in faults.items()
        )
        raise ProfileError(
            f"{called}: {told} (a figure is a number of seconds, or a range [from, to])"
        ) from error


def _shown(said: dict[str, Any], name: str) -> str:
    found: Any = said
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return json.dumps(found)
