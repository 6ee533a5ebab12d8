"""One local cloud: its parts, how they start and how they end."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from local_cloud import lifecycle, services
from local_cloud.batch_settings import BatchSettings, settings_from_environment
from local_cloud.call_details import CallDetails
from local_cloud.calls import CallLog
from local_cloud.clock import Clock
from local_cloud.faults import Faults
from local_cloud.folders import (
    make_temporary_folder,
    remove_abandoned_folders,
    remove_folder,
)
from local_cloud.front import Front
from local_cloud.latency import Latency, Profile
from local_cloud.machines.contract import Disks, Machines
from local_cloud.machines.recorded import RecordedDisks, RecordedMachines
from local_cloud.moto_backend import Moto
from local_cloud.server import Server
from local_cloud.state import Saver, StateFolder, Store

ACCOUNT = "123456789012"
REGION = "ap-northeast-2"


def say_to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


class Cloud:
    """AWS on this machine. At most one in a process, as moto's backends are the process's.

    Use as a context manager, or `start` and `close`. Without `state`, everything lives in a
    temporary folder that is removed at the end. `real` asks for real machines where they can be
    had; `latency` makes things take time, by the host's clock or `clock`; `details` is a file for
    what each call asked for. `endpoint` is the plain HTTP address once started. Raises StateError
    for a folder that cannot be used.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        faults: Faults | None = None,
        latency: Profile | None = None,
        clock: Clock | None = None,
        port: int = 0,
        real: bool = True,
        batch: BatchSettings | None = None,
        details: Path | None = None,
        say: Callable[[str], None] = say_to_stderr,
    ) -> None:
        self.region, self.account = REGION, ACCOUNT
        self.faults = faults or Faults()
        self.batch = batch or settings_from_environment()
        self.latency = Latency(latency, clock)
        self.say = say
        self.details: CallDetails | None = None
        self._asked_details = details
        self.store = Store()
        self.moto = Moto()
        self.registry: Any = None
        self.objects: Any = None
        self.models: Any = None
        self.authority: Any = None
        self.stopping = threading.Event()
        #: Set before the last save: what is done from then on is lost, so no call is answered.
        self.closed = threading.Event()
        self._asked_port, self._asked_real = port, real
        self.temporary = state is None
        self.root = make_temporary_folder() if state is None else state.absolute()
        self.folder = StateFolder(self.root)
        self.machines: Machines = RecordedMachines()
        self.disks: Disks = RecordedDisks()
        self.app = Front(self)
        self._undo = contextlib.ExitStack()
        self._saver: Saver | None = None
        self._server: Server | None = None
        self._save_lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self.endpoint = ""

    @property
    def real(self) -> bool:
        """Whether machines run, rather than being recorded."""
        return self.machines.real

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1])

    def start(self) -> Cloud:
        """Take the folder, load what it holds, open machines, answer; undone whole on failure."""
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def _start(self) -> None:
        if self.temporary:
            self._undo.callback(self._remove_root)
        self.folder.take()
        self._undo.callback(self.folder.release)
        self.calls = CallLog(self.folder.calls_path)
        self._undo.callback(self.calls.close)
        if self._asked_details is not None:
            self.details = CallDetails(self._asked_details)
            self._undo.callback(self.details.close)
        self.moto.reset()
        self._undo.callback(self.moto.reset)
        services.load()
        self._load()
        self._undo.callback(self._stop_saver)
        self._server = Server(self.app, port=self._asked_port, say=self.say)
        self._undo.callback(self._server.stop)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        self._open_parts()
        for hook in lifecycle.AT_START:
            hook(self)
        self._saver = Saver(self._save, say=self.say)
        self._saver.changed()
        self._server.start()
        self.folder.announce(self.endpoint)

    def _open_parts(self) -> None:
        """Registry, certificates, machines and disks: the rooms beside this one."""
        from local_cloud import parts

        self._undo.callback(self._join_background)
        parts.open_registry(self)
        parts.open_machines(self, real=self._asked_real)
        for gone in remove_abandoned_folders():
            self.say(f"Removed {gone}, left by a local cloud that was killed.")
        self._undo.callback(self._close_machines)

    def _remove_root(self) -> None:
        if not remove_folder(self.root):
            self.say(f"{self.root} could not be removed whole.")

    def _close_machines(self) -> None:
        self.machines.close()
        self.disks.close()

    def close(self) -> None:
        """Stop in order: the door, services, machines, then the last save. May be called again."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        with contextlib.ExitStack() as stack:
            stack.callback(self._undo.close)
            for hook in lifecycle.AT_STOP:
                stack.callback(hook, self)
            if self._server is not None:
                stack.callback(self._server.stop)

    def background(self, name: str, job: Callable[[], None]) -> threading.Thread:
        """Run the job in a thread that the cloud waits for at its end; what it raises is said."""

        def run() -> None:
            try:
                job()
            except Exception as error:
                self.say(f"{name}: {type(error).__name__}: {error}")
            finally:
                self._threads.discard(threading.current_thread())
                self.changed()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()
        return thread

    def pause(self, due: float) -> bool:
        """Wait for that time of the cloud's clock; True when the cloud stops before it."""
        return self.latency.clock.wait_until(due, self.stopping)

    def _join_background(self) -> None:
        for thread in list(self._threads):
            thread.join(timeout=30)

    def account_of(self, access_key: str) -> str:
        """The account that a caller's access key belongs to."""
        from moto.iam.models import get_account_id_from

        return str(get_account_id_from(access_key)) if access_key else self.account

    def changed(self) -> None:
        """Something worth saving has changed."""
        if self._saver is not None:
            self._saver.changed()

    def _stop_saver(self) -> None:
        self.closed.set()
        if self._saver is not None:
            saver, self._saver = self._saver, None
            saver.stop()

    def _save(self) -> None:
        if self.temporary:
            return
        with self._save_lock, self.store.lock, self.moto.lock:
            if isinstance(self.disks, RecordedDisks):
                self.store.table("recorded disks").update(now=self.disks.dump())
            self.folder.save({"store": self.store.tables, "moto": self.moto.dump()})

    def _load(self) -> None:
        state = self.folder.load()
        if state is not None:
            self.store.replace(state["store"])
            self.moto.load(state["moto"])
            if isinstance(self.disks, RecordedDisks):
                self.disks.load(self.store.table("recorded disks").get("now", {}))

    def __enter__(self) -> Cloud:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_saved(folder: Path) -> Cloud:
    """A cloud that is not started, holding what was saved last: only good for its inventory."""
    cloud = Cloud(state=folder)
    services.load()
    cloud._load()
    return cloud
