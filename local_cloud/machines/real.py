"""Machines that really run, on this host: the composition of anchor, network, disks and
sandboxes.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM
from ssl import SSLContext
from typing import TYPE_CHECKING, Protocol

from local_cloud.machines import agent, clouds, linux
from local_cloud.machines.anchor import CREDENTIALS, GATEWAY, METADATA, RESOLVER, Anchor
from local_cloud.machines.base_disk import get_base_image
from local_cloud.machines.contract import (
    Disks,
    InstanceMetadata,
    MachineError,
    Machines,
    MachineSpec,
    Outcome,
    Script,
)
from local_cloud.machines.disks import RealDisks
from local_cloud.machines.host import why_not_real
from local_cloud.machines.metadata import MetadataService
from local_cloud.machines.names import Names, NamesServer
from local_cloud.machines.network import Network
from local_cloud.machines.pacing import Link, Speed
from local_cloud.machines.sandbox import Ending, Sandbox, Wiring
from local_cloud.machines.servers import HttpServer
from local_cloud.machines.task_credentials import TaskCredentials

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Authority", "RealDisks", "RealMachines", "open_real", "why_not_real"]


class Authority(Protocol):
    """Who signs for the cloud's names: certificates.Authority."""

    @property
    def ca_pem(self) -> Path: ...
    def server_context(self) -> SSLContext: ...


@dataclass
class _Machine:
    """A machine that is on, over its reboots."""

    sandbox: Sandbox
    #: Set while somebody else than the machine itself wants it off.
    told_to_end: bool = False
    gone: threading.Event = field(default_factory=threading.Event)
    rebooted: threading.Event = field(default_factory=threading.Event)


def open_real(
    root: Path,
    *,
    app: WSGIApplication,
    authority: Authority,
    say: Callable[[str], None],
    temporary: bool = False,
    link_speed: Callable[[], Speed] | None = None,
) -> tuple[Machines, Disks]:
    """Start a cloud's machine room on the folder `root`, after removing what dead clouds left.

    Machines reach `app` under AWS's names, as fast as `link_speed` says. Disks stay in `root`
    between runs unless it is `temporary`: then the next start of any cloud removes the folder if
    this process dies. Raises MachineError.
    """
    if reason := why_not_real():
        raise MachineError(reason)
    root = root.resolve()
    base_image = get_base_image(say)
    with clouds.locked():
        for dead in clouds.remove_dead():
            say(f"Removed what a local cloud that died (process {dead.pid}) left in {dead.root}.")
        if live := clouds.find_live(root):
            raise MachineError(f"process {live.pid} runs a local cloud on {root} already")
        root.mkdir(parents=True, exist_ok=True)
        anchor = Anchor()
        record = clouds.CloudRecord(
            cloud_id=clouds.new_cloud_id(),
            pid=os.getpid(),
            pid_started=linux.start_time(os.getpid()) or 0,
            anchor_pid=anchor.pid,
            anchor_started=anchor.started,
            root=str(root),
            temporary=temporary,
        )
        clouds.record(record)
    try:
        disks = RealDisks(root, anchor=anchor, base_image=base_image)
        return RealMachines(
            anchor, disks, record=record, app=app, authority=authority, say=say,
            link_speed=link_speed,
        ), disks  # fmt: skip
    except BaseException:
        anchor.close()
        clouds.forget(record)
        raise


class RealMachines:
    """The machines of one cloud. See `contract.Machines` for what each method promises."""

    real = True

    def __init__(
        self,
        anchor: Anchor,
        disks: RealDisks,
        *,
        record: clouds.CloudRecord,
        app: WSGIApplication,
        authority: Authority,
        say: Callable[[str], None],
        link_speed: Callable[[], Speed] | None = None,
    ) -> None:
        self._say = say
        self.link = Link(link_speed) if link_speed else None
        self.on_power_off: Callable[[str], None] | None = None
        self.metadata: Callable[[str], InstanceMetadata | None] | None = None
        self.task_credentials: Callable[[str], Mapping[str, str] | None] | None = None
        self.names = Names()
        self._anchor = anchor
        self._record = record
        self._disks = disks
        self._network = Network(anchor)
        self.network: str | None = f"/proc/{anchor.pid}/ns/net"
        self._wiring = Wiring(self._network.connect, authority.ca_pem.resolve())
        self._machines: dict[str, _Machine] = {}
        self._booting: dict[str, MachineSpec] = {}
        self._closed = False
        self._lock = threading.Lock()
        disks.find_mounted = self._find_mounted
        listen = self._network.listen
        self._names_server = NamesServer(
            self.names, udp=listen(RESOLVER, 53, SOCK_DGRAM), tcp=listen(RESOLVER, 53, SOCK_STREAM)
        )
        self._servers = [
            HttpServer(MetadataService(self._metadata_at), listen(METADATA, 80, SOCK_STREAM)),
            HttpServer(TaskCredentials(self._keys_of), listen(CREDENTIALS, 80, SOCK_STREAM)),
            HttpServer(app, listen(GATEWAY, 80, SOCK_STREAM), link=self.link),
            HttpServer(
                app,
                listen(GATEWAY, 443, SOCK_STREAM),
                tls=authority.server_context(),
                link=self.link,
            ),
        ]

    def boot(self, spec: MachineSpec) -> None:
        name = spec.instance_id
        with self._lock:
            if self._closed:
                raise MachineError("the local cloud is closing")
            running = [one.sandbox.spec for one in self._machines.values()]
            for other in (*running, *self._booting.values()):
                if other.instance_id == name:
                    raise MachineError(f"{name} is up already")
                if other.private_ip == spec.private_ip:
                    raise MachineError(f"{other.instance_id} has the address {spec.private_ip}")
            self._booting[name] = spec
        try:
            machine = _Machine(self._start(spec))
            with self._lock:
                self._machines[name] = machine
            machine.sandbox.watch(lambda ending: self._ended(machine, ending))
        finally:
            with self._lock:
                del self._booting[name]

    def _start(self, spec: MachineSpec) -> Sandbox:
        return Sandbox(
            spec,
            anchor=self._anchor,
            group=self._record.group.child(spec.instance_id),
            folder=Path(self._record.root) / "machines" / spec.instance_id,
            disk=self._disks.device_path(spec.root_volume_id),
            wiring=self._wiring,
        )

    def _ended(self, machine: _Machine, ending: Ending) -> None:
        """A machine has no process left: start it again if it rebooted, otherwise let it go."""
        name = machine.sandbox.spec.instance_id
        if ending == "reboot" and not machine.told_to_end:
            try:
                machine.sandbox = self._start(machine.sandbox.spec)
            except MachineError as failure:
                self._say(str(failure))
            else:
                machine.rebooted.set()
                machine.sandbox.watch(lambda next_ending: self._ended(machine, next_ending))
                return
        with self._lock:
            self._machines.pop(name, None)
        shutil.rmtree(machine.sandbox.folder, ignore_errors=True)
        machine.gone.set()
        machine.rebooted.set()
        if self.on_power_off and not machine.told_to_end:
            self.on_power_off(name)

    def shut_down(self, instance_id: str, *, force: bool = False, timeout_s: float = 30.0) -> None:
        with self._lock:
            machine = self._machines.get(instance_id)
        if machine is None:
            return
        machine.told_to_end = True
        if not force:
            machine.sandbox.ask_to_power_off()
            machine.gone.wait(timeout_s)
        while not machine.gone.is_set():  # more than once: it may be between two boots
            machine.sandbox.kill()
            machine.gone.wait(0.2)

    def reboot(self, instance_id: str) -> None:
        """Restart the machine in an orderly way; returns when its new PID 1 runs."""
        machine = self._get(instance_id)
        machine.rebooted.clear()
        machine.sandbox.ask_to_reboot()
        if not machine.rebooted.wait(60):
            raise MachineError(f"{instance_id} does not go down for a reboot")
        if machine.gone.is_set():
            raise MachineError(f"{instance_id} did not come up again after a reboot")

    def is_up(self, instance_id: str) -> bool:
        with self._lock:
            return instance_id in self._machines

    def agent_is_online(self, instance_id: str) -> bool:
        with self._lock:
            machine = self._machines.get(instance_id)
        return machine is not None and agent.is_online(machine.sandbox)

    def console(self, instance_id: str) -> bytes:
        with self._lock:
            machine = self._machines.get(instance_id)
        return b"" if machine is None else agent.read_console(machine.sandbox)

    def run(self, instance_id: str, script: Script, cancel: threading.Event) -> Outcome:
        with self._lock:
            machine = self._machines.get(instance_id)
        if machine is None:
            return agent.not_run(f"{instance_id} is not up")
        return agent.run_script(machine.sandbox, script, cancel)

    def _get(self, instance_id: str) -> _Machine:
        with self._lock:
            machine = self._machines.get(instance_id)
        if machine is None:
            raise MachineError(f"{instance_id} is not up")
        return machine

    def _metadata_at(self, address: str) -> InstanceMetadata | None:
        with self._lock:
            specs = [
                *self._booting.values(),
                *(one.sandbox.spec for one in self._machines.values()),
            ]
        name = next((spec.instance_id for spec in specs if spec.private_ip == address), None)
        return self.metadata(name) if name and self.metadata else None

    def _keys_of(self, identity: str) -> Mapping[str, str] | None:
        return self.task_credentials(identity) if self.task_credentials else None

    def _find_mounted(self, volume_id: str) -> tuple[Path, int] | None:
        with self._lock:
            for machine in self._machines.values():
                if machine.sandbox.spec.root_volume_id == volume_id:
                    return machine.sandbox.root, machine.sandbox.loop
        return None

    def close(self) -> None:
        """Also closes the disks. A second call changes nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            names = list(self._machines)
        for name in names:
            self.shut_down(name, force=True)
        closing: list[HttpServer | NamesServer] = [*self._servers, self._names_server]
        for server in closing:
            server.close()
        try:
            self._disks.close()
        finally:
            self._anchor.close()
            clouds.forget(self._record)
