"""The link between machines and AWS, over a real socket, on a clock that only its waits move."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local_cloud.latency.profile import LinkSpeed
from local_cloud.machines.pacing import Link
from local_cloud.machines.servers import HttpServer

SIZE = 2_000_000
ADDRESS = "127.0.0.1"


class Waits:
    """A clock that shows how long was waited for in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0.0

    def now(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Gives SIZE bytes, or says how many it was given."""
    body = b"x" * SIZE
    if environ["REQUEST_METHOD"] == "PUT":
        body = str(len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


Serving = tuple[str, Waits, Link]


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """Serves the app over a link of a speed: its address, its clock and its ledger."""
    started: list[HttpServer] = []

    def start(**speed: float) -> Serving:
        waits, listening = Waits(), socket.create_server((ADDRESS, 0))
        link = Link(lambda: LinkSpeed(**speed), now=waits.now, sleep=waits.sleep)
        port = listening.getsockname()[1]
        started.append(HttpServer(app, listening, link=link))
        return f"http://{ADDRESS}:{port}/", waits, link

    yield start
    for one in started:
        one.close()


def fetch(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, method="PUT" if body else "GET")
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def test_a_download_takes_its_size_by_the_links_rate(serve: Callable[..., Serving]) -> None:
    url, waits, link = serve(machine_mb_per_s=10)
    assert len(fetch(url)) == SIZE
    assert waits.now() == pytest.approx(0.2, rel=0.01)
    down, up = link.moved(ADDRESS)
    assert SIZE < down < SIZE + 1000  # with its headers
    assert 0 < up < 1000


def test_an_upload_does_too(serve: Callable[..., Serving]) -> None:
    url, waits, link = serve(machine_mb_per_s=4)
    assert fetch(url, b"y" * SIZE) == str(SIZE).encode()
    assert waits.now() == pytest.approx(0.5, rel=0.01)
    assert SIZE < link.moved(ADDRESS)[1] < SIZE + 1000


def test_a_connection_has_a_limit_of_its_own_under_the_machines(
    serve: Callable[..., Serving],
) -> None:
    url, waits, _ = serve(machine_mb_per_s=100, connection_mb_per_s=5)
    fetch(url)
    assert waits.now() == pytest.approx(0.4, rel=0.01)


def test_connections_share_the_machines_link(serve: Callable[..., Serving]) -> None:
    url, waits, link = serve(machine_mb_per_s=10)
    with ThreadPoolExecutor(4) as pool:
        assert [len(one) for one in pool.map(fetch, [url] * 4)] == [SIZE] * 4
    assert link.moved(ADDRESS)[0] == pytest.approx(4 * SIZE, rel=0.001)
    assert waits.now() >= 0.8 * 0.99  # threads that wait together count more than once here


def test_a_round_trip_is_waited_for_by_each_connection_and_request(
    serve: Callable[..., Serving],
) -> None:
    url, waits, _ = serve(round_trip_ms=150)
    fetch(url)
    assert waits.now() == pytest.approx(0.3)


def test_without_limits_nothing_waits(serve: Callable[..., Serving]) -> None:
    url, waits, link = serve()
    fetch(url)
    assert waits.now() == 0
    assert link.moved(ADDRESS)[0] > SIZE
