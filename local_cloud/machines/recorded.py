"""Machines that are only recorded: every command succeeds with no output, and nothing runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from local_cloud.machines.contract import (
    GIB,
    ColdReads,
    DiskUsage,
    InstanceMetadata,
    MachineSpec,
    Outcome,
    Script,
)


class RecordedMachines:
    """Keeps which machines are up, and every script that was sent to them."""

    real = False
    network: str | None = None

    def __init__(self) -> None:
        self.on_power_off: Callable[[str], None] | None = None
        self.metadata: Callable[[str], InstanceMetadata | None] | None = None
        self.task_credentials: Callable[[str], Mapping[str, str] | None] | None = None
        self.specs: dict[str, MachineSpec] = {}
        self.scripts: list[tuple[str, Script]] = []
        #: What a script gives, for tests that want more than success.
        self.answer: Callable[[str, Script], Outcome] | None = None
        #: Machines whose disk is full: every script fails on them.
        self.full: set[str] = set()
        self._lock = threading.Lock()

    def boot(self, spec: MachineSpec) -> None:
        with self._lock:
            self.specs[spec.instance_id] = spec

    def shut_down(self, instance_id: str, *, force: bool = False, timeout_s: float = 30.0) -> None:
        del force, timeout_s
        with self._lock:
            self.specs.pop(instance_id, None)

    def reboot(self, instance_id: str) -> None:
        del instance_id

    def power_off_from_inside(self, instance_id: str) -> None:
        """What `poweroff` on the machine would do."""
        with self._lock:
            was_up = self.specs.pop(instance_id, None) is not None
        if was_up and self.on_power_off is not None:
            self.on_power_off(instance_id)

    def is_up(self, instance_id: str) -> bool:
        return instance_id in self.specs

    def agent_is_online(self, instance_id: str) -> bool:
        return instance_id in self.specs

    def console(self, instance_id: str) -> bytes:
        del instance_id
        return b""

    def run(self, instance_id: str, script: Script, cancel: threading.Event) -> Outcome:
        now = datetime.now(UTC)
        with self._lock:
            self.scripts.append((instance_id, script))
        if cancel.is_set():
            return Outcome(
                status="Cancelled", exit_code=-1, stdout=b"", stderr=b"", started=now, ended=now
            )
        if instance_id in self.full:
            return Outcome(
                status="Failed", exit_code=1, stdout=b"", stderr=b"No space left on device\n",
                started=now, ended=now,
            )  # fmt: skip
        if self.answer is not None:
            return self.answer(instance_id, script)
        return Outcome(
            status="Success", exit_code=0, stdout=b"", stderr=b"", started=now,
            ended=datetime.now(UTC),
        )  # fmt: skip

    def close(self) -> None:
        with self._lock:
            self.specs.clear()


@dataclass
class _Disk:
    size_bytes: int
    allocated_bytes: int
    unique_bytes: int


class RecordedDisks:
    """Sizes only, and nominal ones: a base disk holds 8 GiB, a snapshot all its volume holds."""

    BASE_BYTES = 8 * GIB

    def __init__(self) -> None:
        self._disks: dict[str, _Disk] = {}
        self._lock = threading.Lock()

    def create_volume(
        self, volume_id: str, *, size_gib: int, snapshot_id: str | None = None,
        cold: ColdReads | None = None,
    ) -> None:  # fmt: skip
        del cold  # nobody reads
        with self._lock:
            held = self._disks[snapshot_id].allocated_bytes if snapshot_id else 0
            self._disks[volume_id] = _Disk(size_gib * GIB, held, 0)

    def grow_volume(self, volume_id: str, *, size_gib: int) -> None:
        with self._lock:
            self._disks[volume_id].size_bytes = size_gib * GIB

    def delete_volume(self, volume_id: str) -> None:
        with self._lock:
            self._disks.pop(volume_id, None)

    def create_snapshot(self, snapshot_id: str, *, volume_id: str) -> None:
        self.copy_snapshot(volume_id, snapshot_id)

    def copy_snapshot(self, source_id: str, target_id: str) -> None:
        with self._lock:
            source = self._disks[source_id]
            self._disks[target_id] = _Disk(source.size_bytes, source.allocated_bytes, 0)

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._lock:
            self._disks.pop(snapshot_id, None)

    def add_base_snapshot(self, snapshot_id: str, *, family: str) -> None:
        del family
        with self._lock:
            self._disks[snapshot_id] = _Disk(30 * GIB, self.BASE_BYTES, self.BASE_BYTES)

    def usage(self, disk_id: str) -> DiskUsage:
        with self._lock:
            disk = self._disks[disk_id]
            return DiskUsage(
                size_bytes=disk.size_bytes,
                allocated_bytes=disk.allocated_bytes,
                unique_bytes=disk.unique_bytes,
            )

    def cold_bytes(self, volume_id: str) -> tuple[int, int]:
        del volume_id
        return 0, 0

    def load(self, sizes: dict[str, tuple[int, int, int]]) -> None:
        """Take over what `dump` of an earlier cloud gave."""
        with self._lock:
            self._disks = {disk_id: _Disk(*size) for disk_id, size in sizes.items()}

    def dump(self) -> dict[str, tuple[int, int, int]]:
        with self._lock:
            return {
                i: (d.size_bytes, d.allocated_bytes, d.unique_bytes) for i, d in self._disks.items()
            }

    def close(self) -> None:
        return
