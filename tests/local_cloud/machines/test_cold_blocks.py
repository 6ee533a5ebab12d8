"""Which blocks of a volume are cold, and what touching them costs: accounting, on a still clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from local_cloud.machines import cold_disks, cold_server
from local_cloud.machines.anchor import Anchor
from local_cloud.machines.cold_disks import ColdDisks
from local_cloud.machines.cold_server import BLOCK, Volume
from local_cloud.machines.contract import ColdReads
from local_cloud.machines.linux import Extent

#: Ten blocks hold data of a snapshot, and two between them do not.
DATA = [Extent(0, 4 * BLOCK, True), Extent(6 * BLOCK, 6 * BLOCK, True)]
WHOLE = 12 * BLOCK


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`clock.now` is what the time is."""
    still = SimpleNamespace(now=1000.0)
    still.time = still.monotonic = lambda: still.now
    monkeypatch.setattr(cold_server, "time", still)
    monkeypatch.setattr(cold_disks, "time", still)
    monkeypatch.setattr("local_cloud.machines.linux.extents", lambda path: iter(DATA))
    return still


def make(folder: Path, **cold: float) -> tuple[Volume, ColdDisks]:
    """A volume whose blocks come at one in a second."""
    path = folder / "vol-1"
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(WHOLE)
    disks = ColdDisks(folder, folder / "mount", Anchor.__new__(Anchor))
    disks.chill(path, ColdReads(first_read_mb_per_s=BLOCK / 10**6, **cold))  # type: ignore[arg-type]
    return Volume(path), disks


def test_a_first_read_costs_its_blocks_and_a_second_nothing(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    volume, disks = make(tmp_path)
    assert disks.count(volume.path) == (10 * BLOCK, 10 * BLOCK)
    assert volume.touch(0, 2 * BLOCK) == pytest.approx(2)
    assert volume.touch(0, 2 * BLOCK) == 0
    assert disks.count(volume.path) == (10 * BLOCK, 8 * BLOCK)
    volume.close()


def test_readers_share_the_rate_and_holes_cost_nothing(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    volume, _ = make(tmp_path)
    assert volume.touch(6 * BLOCK, BLOCK) == pytest.approx(1)
    assert volume.touch(8 * BLOCK, BLOCK) == pytest.approx(2)  # it waits behind the first
    assert volume.touch(4 * BLOCK, 2 * BLOCK) == 0
    clock.now += 10
    assert volume.touch(9 * BLOCK, 1) == pytest.approx(1)  # idle time is not saved up
    volume.close()


def test_a_block_is_fetched_to_be_written_in_part_and_not_when_written_whole(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    volume, disks = make(tmp_path)
    assert volume.touch(0, BLOCK, write=True) == 0
    assert volume.touch(BLOCK, 4096, write=True) == pytest.approx(1)
    assert disks.count(volume.path)[1] == 8 * BLOCK
    assert volume.touch(WHOLE, 100 * BLOCK) == 0  # a part that the volume has grown by
    volume.close()


def test_a_rate_of_initialization_warms_in_order_and_all_after_size_by_rate(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    volume, _ = make(tmp_path, initialization_mib_s=1)  # two blocks in a second
    clock.now += 2
    assert volume.touch(0, 4 * BLOCK) == 0  # the first four that hold data are there
    assert volume.touch(7 * BLOCK, BLOCK) == pytest.approx(1)
    clock.now += 3  # ten blocks in five seconds
    assert volume.touch(6 * BLOCK, 6 * BLOCK) == 0
    volume.close()


def test_what_was_touched_is_remembered(tmp_path: Path, clock: SimpleNamespace) -> None:
    volume, disks = make(tmp_path)
    volume.touch(0, BLOCK)
    volume.close()
    again = Volume(volume.path)
    assert again.touch(0, BLOCK) == 0
    assert again.touch(BLOCK, BLOCK) > 0
    again.close()
    disks.forget(volume.path)
    assert disks.count(volume.path) == (0, 0)
