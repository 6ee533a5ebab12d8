"""Models of a web server: pinned by hand or by a checksum file, and known to be there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ami_provider.contents import Model
from ami_provider.faults import FaultsError
from ami_provider.lookups.models import check_http, find_questions
from ami_provider.lookups.prospects import find_web_sizes
from ami_provider.resolved import ResolvedModel
from tests.ami_provider.samples import resolved

DIGEST = hashlib.sha256(b"model").hexdigest()
FILES = {
    "/m.pt": b"model",
    "/SHA256SUMS": f"{'0' * 64}  other.pt\n{DIGEST.upper()} *./sub/m.pt\n".encode(),
    "/empty": b"\n",
}


class _Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(FILES.get(self.path))

    def do_HEAD(self) -> None:
        self._answer(FILES.get(self.path))

    def _answer(self, body: bytes | None) -> None:
        status = {"/denied": 403, "/gone": 410}.get(self.path, 404 if body is None else 200)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    def log_message(self, *args: Any) -> None:
        """Nothing: the tests' output is for failures."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_forecast_takes_the_size_that_the_server_tells(url: str) -> None:
    models = [
        ResolvedModel(source=f"{url}/{name}", destination=f"/opt/{name}", sha256=DIGEST)
        for name in ("m.pt", "none")
    ]
    recipe = resolved().model_copy(update={"models": tuple(models)})

    sized = find_web_sizes(recipe)

    assert [one.size_bytes for one in sized.models] == [len(b"model"), None]
    assert sized.manifest() == recipe.manifest(), "a size is no part of what the image is"


def resolve(**fields: Any) -> Any:
    model = Model(destination="/opt/m.pt", **fields)
    (question,) = find_questions(model, "recipe.models[0]", None)  # type: ignore[arg-type]
    return question()


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(FaultsError) as refused:
        resolve(**fields)
    (fault,) = refused.value.faults
    return fault.path, fault.reason


def test_a_given_sha256_asks_nothing() -> None:
    found = resolve(source="https://nowhere.invalid/m.pt", sha256=DIGEST.upper())
    assert found.sha256 == DIGEST
    assert found.identity() == {"destination": "/opt/m.pt", "sha256": DIGEST}


def test_a_checksum_file_pins_the_file_it_names(url: str) -> None:
    assert resolve(source=f"{url}/m.pt", checksums=f"{url}/SHA256SUMS").sha256 == DIGEST


@pytest.mark.parametrize(
    ("source", "checksums", "reason"),
    [
        ("x.pt", "SHA256SUMS", "has no line for 'x.pt'. Name the right file, or give sha256"),
        ("m.pt", "empty", "has no line for 'm.pt'"),
        ("m.pt", "none", "answers 404. Correct the URL, or give sha256 instead."),
        ("m.pt", "denied", "answers 403"),
    ],
)
def test_a_checksum_file_that_does_not_help(
    url: str, source: str, checksums: str, reason: str
) -> None:
    path, told = refusal(source=f"{url}/{source}", checksums=f"{url}/{checksums}")
    assert path == "recipe.models[0].checksums"
    assert reason in told


def test_a_checksum_file_that_cannot_be_read() -> None:
    path, told = refusal(source="http://127.0.0.1:9/m.pt", checksums="http://127.0.0.1:9/SUMS")
    assert path == "recipe.models[0].checksums"
    assert "cannot be read" in told


@pytest.mark.parametrize(("name", "status"), [("none", 404), ("gone", 410)])
def test_a_missing_file_is_told(url: str, name: str, status: int) -> None:
    model = Model(source=f"{url}/{name}", destination="/opt/m.pt", sha256=DIGEST)
    with pytest.raises(FaultsError, match=f"answers {status}: there is no such file"):
        check_http(model, "recipe.models[0]")


@pytest.mark.parametrize("name", ["m.pt", "denied"])
def test_what_is_there_or_only_hidden_from_here_is_left_to_the_builder(url: str, name: str) -> None:
    check_http(
        Model(source=f"{url}/{name}", destination="/opt/m.pt", sha256=DIGEST), "recipe.models[0]"
    )
    closed = Model(source="http://127.0.0.1:9/m.pt", destination="/opt/m.pt", sha256=DIGEST)
    check_http(closed, "recipe.models[0]")
