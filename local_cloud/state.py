"""The folder a cloud lives in: its lock, and a pickle of our tables and of moto's backends."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pickle
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

VERSION = 1
LOCK_TYPE, RLOCK_TYPE = type(threading.Lock()), type(threading.RLock())


class StateError(Exception):
    """The state folder cannot be used; the message says why and what to do."""


class Store:
    """Our own resources as named tables of plain picklable things. Hold `lock` to change them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[str, dict[Any, Any]] = {}

    def table(self, name: str) -> dict[Any, Any]:
        """The table of this name, made on first use; the same object for the cloud's life."""
        with self.lock:
            return self.tables.setdefault(name, {})

    def replace(self, tables: dict[str, dict[Any, Any]]) -> None:
        with self.lock:
            self.tables = tables


def _bare(kind: Any) -> Any:
    return kind.__new__(kind)


def _private_key(content: bytes) -> Any:
    return serialization.load_der_private_key(content, password=None)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """moto's backends hold locks, which start unlocked again in the next process, and keys."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            content = obj.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            return _private_key, (content,)
        if isinstance(obj, RLOCK_TYPE):
            return threading.RLock, ()
        if isinstance(obj, LOCK_TYPE):
            return threading.Lock, ()
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            # moto's subclasses need arguments, which the usual way of unpickling does not give.
            state = (vars(obj), {"default_factory": obj.default_factory})
            return _bare, (type(obj),), state, None, iter(obj.items())
        return super().reducer_override(obj)


def pickled(thing: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(thing)
    return buffer.getvalue()


class StateFolder:
    """One cloud's folder. `take` it before use; a folder left by a killed process can be taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file: Any = None

    @property
    def calls_path(self) -> Path:
        return self.path / "calls.jsonl"

    @property
    def pickle_path(self) -> Path:
        return self.path / "state.pickle"

    def take(self) -> None:
        """Become the folder's owner. Raises StateError naming the process that has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock_file = (self.path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise StateError(f"state folder {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = self.read_owner() or {}
            self._lock_file.close()
            self._lock_file = None
            raise StateError(
                f"state folder {self.path}: in use by process {owner.get('pid', 'unknown')}"
                f" (endpoint {owner.get('endpoint', 'not ready yet')}); stop that one or use"
                " another folder"
            ) from None
        try:
            self.announce(None)
        except OSError as error:
            raise StateError(f"state folder {self.path}: {error.strerror}") from error

    def announce(self, endpoint: str | None) -> None:
        """Write who owns the folder and where it answers, for `inventory` and `calls`."""
        assert self._lock_file is not None
        self._lock_file.seek(0)
        self._lock_file.truncate()
        json.dump({"pid": os.getpid(), "endpoint": endpoint}, self._lock_file)
        self._lock_file.flush()

    def read_owner(self) -> dict[str, Any] | None:
        """What the owner announced, or None for a folder nobody ever took."""
        try:
            owner = json.loads((self.path / "lock").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return owner if isinstance(owner, dict) else None

    def is_owned(self) -> bool:
        """Whether a living process has the folder."""
        try:
            with (self.path / "lock").open("r", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def save(self, state: dict[str, Any]) -> None:
        """Write the whole state at once: a kill leaves the old one or the new one.

        Raises StateError where there is no room for it.
        """
        from moto import __version__ as moto_version

        data = pickled({"version": VERSION, "moto": moto_version, "state": state})
        new = self.pickle_path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.pickle_path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise StateError(
                f"state folder {self.path}: cannot be saved: {error.strerror}; it holds what was"
                " saved before"
            ) from error

    def load(self) -> dict[str, Any] | None:
        """What was saved last, or None. Raises StateError for one this version cannot read."""
        if not self.pickle_path.exists():
            return None
        from moto import __version__ as moto_version

        try:
            held = pickle.loads(self.pickle_path.read_bytes())  # noqa: S301 (our own file)
            versions = (held["version"], held["moto"])
        except Exception as error:
            raise StateError(
                f"state folder {self.path}: state.pickle cannot be read ({error}); use another"
                " folder, or remove this one to start empty"
            ) from error
        if versions != (VERSION, moto_version):
            raise StateError(
                f"state folder {self.path}: written by format {versions[0]} with moto"
                f" {versions[1]}, this is format {VERSION} with moto {moto_version}; use another"
                " folder, or remove this one to start empty"
            )
        state = held["state"]
        assert isinstance(state, dict)
        return state

    def release(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


class Saver:
    """Saves a moment after a change, in a thread of its own; what fails is said and tried again.

    The more there is to save, the more seldom: at most a twentieth of the time goes into it.
    """

    def __init__(
        self, save: Callable[[], None], *, say: Callable[[str], None], delay_s: float = 1.0
    ) -> None:
        self._say = say
        self._save = save
        self._delay_s = delay_s
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        """Stop the thread, then save once more."""
        self._stop.set()
        self._changed.set()
        self._thread.join()
        self._save()

    def _run(self) -> None:
        took_s, failed = 0.0, ""
        while not self._stop.is_set():  # It may be set just before the change is taken as seen.
            self._changed.wait()
            if self._stop.wait(max(self._delay_s, 20 * took_s)):
                return
            self._changed.clear()
            began = time.monotonic()
            try:
                self._save()
                took_s, failed = time.monotonic() - began, ""
            except Exception as error:
                if failed != str(error):  # once for each reason, not every second
                    self._say(f"The state was not saved, trying again: {error}")
                failed = str(error)
                self._changed.set()
