"""One room with real machines for all tests here, and a machine in it that they share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.machines.contract import MachineSpec
from tests.local_cloud.machines.room import Room, open_room


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Each test that changes a machine makes its own in it."""
    opened = open_room(tmp_path_factory.mktemp("cloud"))
    yield opened
    opened.machines.close()
    opened.disks.close()


@pytest.fixture(scope="session")
def machine(room: Room) -> MachineSpec:
    """A machine with a GPU. Tests leave it as it was."""
    return room.boot(gpus=1)
