"""What EC2, EBS and SSM need of something that runs machines and keeps disks.

Two implementations: `recorded` (nothing runs: no root, or not Linux) and `real` (sandboxes on this
host).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

GIB = 1024**3

CommandStatus = Literal["Success", "Failed", "TimedOut", "Cancelled"]


class MachineError(Exception):
    """A machine could not be started, or died while it was."""


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine about to boot. Its root disk is the volume `root_volume_id`, which exists."""

    instance_id: str
    instance_type: str
    gpus: int
    region: str
    account_id: str
    private_ip: str
    hostname: str
    root_volume_id: str
    #: Reaches the machine too, which does not know of it.
    public_ip: str | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceMetadata:
    """What the metadata service answers for one machine at one moment.

    `tree` maps paths below `/latest/` without a leading slash (`meta-data/instance-id`) to their
    text; folders are derived from it. `user_data` is what was given at launch, decoded.
    """

    tree: Mapping[str, str]
    user_data: bytes | None
    tokens_required: bool
    hop_limit: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """One run of `AWS-RunShellScript` on one machine; `timeout_s` is its executionTimeout."""

    command_id: str
    lines: tuple[str, ...]
    working_directory: str | None = None
    timeout_s: float = 3600.0
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a script. Output is whole here; the SSM service applies SSM's limits."""

    status: CommandStatus
    exit_code: int
    stdout: bytes
    stderr: bytes
    started: datetime
    ended: datetime


@dataclass(frozen=True, kw_only=True)
class DiskUsage:
    """Bytes of one disk: the size asked for, what it really holds, what no other disk shares."""

    size_bytes: int
    allocated_bytes: int
    unique_bytes: int


@dataclass(frozen=True, kw_only=True)
class ColdReads:
    """How a new volume's data comes from its snapshot: first reads go at the rate of MB/s (10^6
    bytes), all readers together; with `initialization_mib_s` (MiB/s) all is fetched in the
    background too, in order, from the volume's creation on.
    """

    first_read_mb_per_s: float
    initialization_mib_s: int | None = None


class Machines(Protocol):
    """Machines by their instance ID. Every method may be called from several threads."""

    real: bool
    #: The network namespace that machines are reached in, as a path; None where nothing runs.
    network: str | None
    #: Set by the EC2 service: called, from a thread of ours, when a machine powered itself off or
    #: died.
    on_power_off: Callable[[str], None] | None
    #: Set by the EC2 service: what the metadata service answers; None for an unknown machine.
    metadata: Callable[[str], InstanceMetadata | None] | None
    #: Set by the Batch service: the keys of a container's role by the ID in their path.
    task_credentials: Callable[[str], Mapping[str, str] | None] | None

    def boot(self, spec: MachineSpec) -> None:
        """Start the machine; returns when its PID 1 runs. MachineError leaves nothing behind."""
        ...

    def shut_down(self, instance_id: str, *, force: bool = False, timeout_s: float = 30.0) -> None:
        """Power off in order, or at once with `force`; returns when nothing of it is left running.

        `on_power_off` is not called for it. Nothing happens for a machine that is not up.
        """
        ...

    def reboot(self, instance_id: str) -> None: ...

    def is_up(self, instance_id: str) -> bool: ...

    def agent_is_online(self, instance_id: str) -> bool:
        """Whether the machine's SSM agent would answer: booted far enough, its service running."""
        ...

    def console(self, instance_id: str) -> bytes:
        """What its console would show: the boot and user data; nothing of one that is not up."""
        ...

    def run(self, instance_id: str, script: Script, cancel: threading.Event) -> Outcome:
        """Run a script as root as the SSM agent does; blocks until it ends or is cancelled.

        A machine that dies meanwhile gives Failed with exit code -1.
        """
        ...

    def close(self) -> None:
        """Force every machine down and remove all that was made for them."""
        ...


class Disks(Protocol):
    """Volumes and snapshots by ID. A snapshot is a copy-on-write view: only changes cost."""

    def create_volume(
        self, volume_id: str, *, size_gib: int, snapshot_id: str | None = None,
        cold: ColdReads | None = None,
    ) -> None: ...  # fmt: skip

    def grow_volume(self, volume_id: str, *, size_gib: int) -> None: ...

    def delete_volume(self, volume_id: str) -> None: ...

    def create_snapshot(self, snapshot_id: str, *, volume_id: str) -> None:
        """What is on the volume now, at worst as after a power cut (frozen while copied)."""
        ...

    def copy_snapshot(self, source_id: str, target_id: str) -> None: ...

    def delete_snapshot(self, snapshot_id: str) -> None: ...

    def add_base_snapshot(self, snapshot_id: str, *, family: str) -> None:
        """The disk of a base AMI (`al2023-gpu`, `al2-gpu`, `al2023`, …) under this snapshot ID."""
        ...

    def usage(self, disk_id: str) -> DiskUsage:
        """Of a volume or snapshot. Raises KeyError for one that is not there."""
        ...

    def cold_bytes(self, volume_id: str) -> tuple[int, int]:
        """Of a volume made cold: what came from its snapshot, and what was not touched yet."""
        ...

    def close(self) -> None: ...
