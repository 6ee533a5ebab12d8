"""What the report on an AMI says, as plain values: whoever fills them in says where from. Pure.

A part that is empty or None is told as unknown on the page, with the reason in `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Ami:
    """The AMI itself, as EC2 describes it. `bytes` is what its snapshots hold."""

    id: str
    name: str
    region: str
    state: str
    created: datetime
    fingerprint: str
    lineage: str
    is_verified: bool
    verified: str
    snapshot_ids: tuple[str, ...]
    volume_gib: int
    bytes: int | None


@dataclass(frozen=True)
class Stage:
    """One stage of the bake, in seconds; they follow one another."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Part:
    """Something that is in the AMI: `name` in a word, `detail` how its bytes are known."""

    name: str
    kind: str
    bytes: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """US dollars: of one `bake`, of storage for a month, of both for a `month` with its bakes.

    `saving_job` is what a job's start costs less on this AMI; `break_even_jobs` from how many jobs
    a month on that makes up for `month`, None where it never does. `basis` says where each figure
    is from.
    """

    bake: float
    storage_month: float
    month: float
    saving_job: float
    break_even_jobs: int | None
    basis: tuple[str, ...] = ()

    @property
    def meeting(self) -> float | None:
        """Jobs a month at which saving and cost are the same, to the fraction of a job."""
        return self.month / self.saving_job if self.saving_job > 0 else None


@dataclass(frozen=True)
class Start:
    """How long a job's start takes on one kind of AMI: `stages` in seconds, in their order.

    `case` tells starts on the same kind apart: a model's best from its worst.
    """

    ami: str
    case: str
    stages: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.stages.values())


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Starts to compare, and where their figures are from.

    `slow` and `fast` name two of the AMIs: the page's headline is how they compare.
    """

    title: str
    note: str
    starts: tuple[Start, ...]
    slow: str
    fast: str
    sources: tuple[str, ...] = ()

    def list_totals(self, ami: str) -> list[float]:
        """Seconds in all of each start on one kind of AMI, in order of length."""
        return sorted(start.total for start in self.starts if start.ami == ami)


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """One AMI of the lineage, newest first; `changes` say what it has that the one before has not.

    `storage_month` is in US dollars; what is None nobody tells.
    """

    id: str
    name: str
    created: datetime
    state: str
    verified: str
    users: tuple[str, ...]
    bytes: int | None
    storage_month: float | None
    bake_seconds: float | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page. `unknown` says why a part (`stages`, `cost`, …) is missing."""

    ami: Ami
    made: datetime
    stages: tuple[Stage, ...] = ()
    parts: tuple[Part, ...] = ()
    parts_note: str = ""
    cost: Cost | None = None
    starts: tuple[Starts, ...] = ()
    lineage: tuple[Ancestor, ...] = ()
    manifest: Mapping[str, object] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def bake_seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)
