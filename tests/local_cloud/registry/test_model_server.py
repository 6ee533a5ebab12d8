"""The server of models: ranges, and each fault on order."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from local_cloud.cloud import Cloud
from local_cloud.model_server import HOST, ModelFault, ModelServer
from local_cloud.server import QuietHandler

CONTENT = os.urandom(300_000)


@pytest.fixture
def models(tmp_path: Path) -> ModelServer:
    server = ModelServer(tmp_path / "models")
    (server.folder / "sub").mkdir()
    (server.folder / "sub" / "a.pt").write_bytes(CONTENT)
    (tmp_path / "outside").write_bytes(b"outside")
    return server


@pytest.fixture
def port(models: ModelServer) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, models, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def get(
    port: int, path: str = "/sub/a.pt", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_files_and_ranges(port: int) -> None:
    status, headers, body = get(port)
    assert (status, body) == (200, CONTENT)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Length"] == "300000"
    status, headers, body = get(port, Range="bytes=100-199")
    assert (status, body) == (206, CONTENT[100:200])
    assert headers["Content-Range"] == "bytes 100-199/300000"
    assert get(port, Range="bytes=299990-")[2] == CONTENT[-10:]
    assert get(port, Range="bytes=300000-")[0] == 416
    status, headers, body = get(port, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "300000", b"")


@pytest.mark.parametrize("path", ["/none", "/../outside", "/sub", "/sub/../../outside"])
def test_nothing_outside_the_folder(port: int, path: str) -> None:
    assert get(port, path)[0] == 404


def test_faults(models: ModelServer, port: int) -> None:
    for kind, status in (("not-found", 404), ("forbidden", 403), ("error", 503)):
        models.set_faults(ModelFault(kind=kind))  # type: ignore[arg-type]
        assert get(port)[0] == status
    models.set_faults(ModelFault(kind="truncated"))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(port)
    assert caught.value.partial == CONTENT[:150_000]
    models.set_faults(ModelFault(kind="wrong-bytes"))
    wrong = get(port)[2]
    assert (len(wrong), wrong[1:], wrong[0]) == (300_000, CONTENT[1:], CONTENT[0] ^ 0xFF)
    models.set_faults(ModelFault(kind="no-range"))
    status, headers, body = get(port, Range="bytes=100-199")
    assert (status, body) == (200, CONTENT)
    assert "Accept-Ranges" not in headers
    models.set_faults(ModelFault(kind="no-length"))
    status, headers, body = get(port, Range="bytes=100-199")
    assert (status, body) == (200, CONTENT)
    assert "Content-Length" not in headers
    models.set_faults()
    assert get(port)[2] == CONTENT


def test_a_fault_for_some_paths_and_some_times(models: ModelServer, port: int) -> None:
    models.set_faults(ModelFault(kind="error", path="sub/.*", times=2))
    assert [get(port)[0] for _ in range(3)] == [503, 503, 200]
    models.set_faults(ModelFault(kind="error", path="other/.*"))
    assert get(port)[0] == 200


def put_faults(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("PUT", "/_faults", body=body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_faults_by_http(port: int) -> None:
    assert put_faults(port, b'[{"kind": "forbidden", "path": "sub/.*", "times": 1}]') == 204
    assert [get(port)[0] for _ in range(2)] == [403, 200]
    for wrong in (b"[{}]", b"not json", b'[{"kind": "none"}]', b'[{"kind": "slow", "rate": 1}]'):
        assert put_faults(port, wrong) == 400


def test_a_rate_for_each_connection(models: ModelServer, port: int) -> None:
    models.set_faults(ModelFault(kind="slow", bytes_per_second=600_000))
    started = time.monotonic()
    assert get(port)[2] == CONTENT
    assert time.monotonic() - started >= 0.4  # half a second of bytes, less the first tenth


def test_machines_reach_it_by_name(cloud: Cloud) -> None:
    (cloud.models.folder / "m.pt").write_bytes(b"model")
    assert get(cloud.port, "/m.pt", Host=HOST)[2] == b"model"
    assert get(cloud.port, "/m.pt")[2] != b"model"
