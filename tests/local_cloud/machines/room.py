"""A room of machines and disks without the rest of a cloud, and short ways to say what a test
means.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.certificates import Authority
from local_cloud.machines.clouds import RECORDS, CloudRecord
from local_cloud.machines.contract import (
    Disks,
    InstanceMetadata,
    Machines,
    MachineSpec,
    Outcome,
    Script,
)
from tests.waiting import until

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Lines for a machine: `thin:1`, an image that holds nothing and runs with the machine's own /usr.
MAKE_IMAGE = """
cd "$(mktemp -d)"; mkdir -p usr etc tmp
ln -s usr/bin bin; ln -s usr/lib lib; ln -s usr/lib64 lib64
tar c . | docker import - thin:1 > /dev/null
in_container() { docker run --rm -v /usr:/usr:ro "$@"; }
"""


@dataclass
class Room:
    """Machines and disks as the EC2 and SSM services use them, with short ways to say what is
    meant.
    """

    machines: Machines
    disks: Disks
    root: Path
    user_data: dict[str, bytes] = field(default_factory=dict)
    tokens_required: bool = True
    hop_limit: int = 2
    powered_off: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(10))

    def __post_init__(self) -> None:
        self.machines.on_power_off = self.powered_off.append
        self.machines.metadata = self._metadata

    def _metadata(self, instance_id: str) -> InstanceMetadata:
        return InstanceMetadata(
            tree={
                "meta-data/instance-id": instance_id,
                "meta-data/placement/region": "ap-northeast-2",
                "meta-data/iam/security-credentials/builder": '{"Code": "Success"}',
            },
            user_data=self.user_data.get(instance_id),
            tokens_required=self.tokens_required,
            hop_limit=self.hop_limit,
        )

    def spec(
        self, volume_id: str, *, gpus: int = 0, instance_type: str = "g5.xlarge"
    ) -> MachineSpec:
        number = next(self._numbers)
        address = f"172.31.{number // 250}.{number % 250 + 4}"
        return MachineSpec(
            instance_id=f"i-{number:017x}",
            instance_type=instance_type,
            gpus=gpus,
            region="ap-northeast-2",
            account_id="123456789012",
            private_ip=address,
            hostname=f"ip-{address.replace('.', '-')}.ap-northeast-2.compute.internal",
            root_volume_id=volume_id,
        )

    def new_volume(self, *, family: str = "al2023-gpu", size_gib: int = 30) -> str:
        snapshot = f"snap-base-{family}"
        self.disks.add_base_snapshot(snapshot, family=family)
        volume = f"vol-{next(self._numbers):017x}"
        self.disks.create_volume(volume, size_gib=size_gib, snapshot_id=snapshot)
        return volume

    def boot(
        self, volume_id: str | None = None, *, gpus: int = 0, user_data: bytes | None = None
    ) -> MachineSpec:
        """A machine whose agent answers."""
        spec = self.spec(volume_id or self.new_volume(), gpus=gpus)
        if user_data is not None:
            self.user_data[spec.instance_id] = user_data
        self.machines.boot(spec)
        self.wait_online(spec)
        return spec

    def wait_online(self, spec: MachineSpec) -> None:
        until(lambda: self.machines.agent_is_online(spec.instance_id))

    def run(
        self,
        spec: MachineSpec,
        *lines: str,
        timeout_s: float = 3600,
        cancel: threading.Event | None = None,
        working_directory: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> Outcome:
        script = Script(
            command_id=f"command-{next(self._numbers)}",
            lines=lines,
            timeout_s=timeout_s,
            working_directory=working_directory,
            environment=environment or {},
        )
        return self.machines.run(spec.instance_id, script, cancel or threading.Event())

    def says(self, spec: MachineSpec, *lines: str) -> str:
        """What a script that succeeds prints."""
        outcome = self.run(spec, *lines)
        assert outcome.status == "Success", outcome
        return outcome.stdout.decode().strip()

    def end(self, *specs: MachineSpec) -> None:
        """As EC2 terminates: the machine and its volume are gone."""
        for spec in specs:
            self.machines.shut_down(spec.instance_id, force=True)
            self.disks.delete_volume(spec.root_volume_id)


def echo(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
    """An app that says how it was asked."""
    body = (
        f"{environ['REQUEST_METHOD']} {environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
        f"{environ['PATH_INFO']} from {environ['REMOTE_ADDR']}"
    ).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def find_record(pid: int) -> CloudRecord:
    """The last cloud that the process started."""
    files = sorted(RECORDS.glob("*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    found = (CloudRecord(**json.loads(file.read_text())) for file in files)
    return next(one for one in found if one.pid == pid)


def open_room(root: Path, *, temporary: bool = False) -> Room:
    from local_cloud.machines.real import open_real

    machines, disks = open_real(
        root / "room",
        app=echo,
        authority=Authority(root / "certificates"),
        say=print,
        temporary=temporary,
    )
    return Room(machines, disks, root / "room")
