"""The provider's process ends when its engine is gone, and not before."""

from __future__ import annotations

import socket
import threading

import pytest

from ami_provider import engine_watch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_watch, "PAUSE_S", 0.05)


def test_it_ends_once_nobody_listens_any_more() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as engine:
        address = f"127.0.0.1:{engine.getsockname()[1]}"
        engine_watch.end_with_engine(address, ended.set)
        engine_watch.end_with_engine(address, ended.set)  # each question asks for it
        first, _ = engine.accept()
        first.sendall(b"hello")
        first.close()  # An engine closes what stays silent; that is not its end.
        second, _ = engine.accept()
        assert not ended.is_set()
    second.close()
    assert ended.wait(600)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nothing", "host:name"])
def test_where_no_engine_ever_answered_there_is_nothing_to_watch(address: str) -> None:
    ended = threading.Event()
    engine_watch.end_with_engine(address, ended.set)
    for thread in threading.enumerate():
        if thread.name == "engine":
            thread.join()
    assert not ended.is_set()
