"""The entries of a faults file, by what they do: to calls, machines, launches, new things."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local_cloud.faults.when import Facts, matches

CallKind = Literal[
    "throttle", "error", "timeout", "late", "drop-before", "drop-after", "expired-credentials",
    "clock-skew",
]  # fmt: skip
MachineKind = Literal["interrupt", "rebalance", "host-failure", "impair", "fill-disk"]
LimitKind = Literal["capacity", "quota", "initialization-budget"]
UnseenKind = Literal["instance", "volume", "snapshot", "image", "profile", "role", "tags"]


class Entry(BaseModel):
    """What every entry has: when it applies (`when`), from which match on, and how often.

    The first `after` matches pass untouched, then `times` are hit (None: for ever).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str
    times: int | None = Field(default=None, ge=1)
    after: int = Field(default=0, ge=0)
    when: dict[str, Any] = Field(default_factory=dict)


class Fault(Entry):
    """A call that fails: which one (`*` for any), and how.

    `seconds` is how long a `timeout` hangs before the connection is closed, and how long a `late`
    answer is held back after the call's effect.
    """

    fault: CallKind
    service: str = "*"
    action: str = "*"
    code: str | None = None
    message: str | None = None
    status: int | None = Field(default=None, ge=400, le=599)
    seconds: float = Field(default=60.0, ge=0)

    def matches(
        self, service: str, action: str, params: dict[str, Any], facts: Facts | None = None
    ) -> bool:
        return (
            self.service in ("*", service)
            and self.action in ("*", action)
            and matches(self.when, params, facts or {})
        )


class MachineFault(Entry):
    """Something that befalls a machine: `seconds` after its launch, or about a call (`action`).

    The call's own machines are meant, or all that run where it names none; after its effect, or
    `before` it. `notice` is how long before the end an interruption is told (AWS: 120 s);
    `free_mib` what a filled disk has left; `code` and `message` the state's reason at the end.
    """

    fault: MachineKind
    service: str = "ec2"
    action: str | None = None
    seconds: float = Field(default=0.0, ge=0)
    before: bool = False
    notice: float = Field(default=120.0, ge=0)
    free_mib: int = Field(default=0, ge=0)
    code: str | None = None
    message: str | None = None


class Limit(Entry):
    """A bound on launches that match: machines up at once, their vCPUs, or MiB/s of cold volumes.

    `times` counts refusals: after so many the limit is gone.
    """

    fault: LimitKind
    machines: int = Field(default=0, ge=0)
    vcpus: int = Field(default=0, ge=0)
    mib_s: int = Field(default=5000, ge=0)
    code: str | None = None
    message: str | None = None


class Unseen(Entry):
    """New things of a kind are not found (or their tags not shown) for the first looks at them.

    A look is a call that names or lists the thing; `seconds` are counted from its creation.
    """

    fault: Literal["unseen"] = "unseen"
    of: UnseenKind
    looks: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0)
