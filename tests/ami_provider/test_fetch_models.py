"""The step that fetches models: right bytes under the right name, or a failure that says why."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ami_provider.model_server import SECRET, TOKEN, Server, serve
from tests.ami_provider.scratch import Scratch

STEP = "45-fetch-models"
BYTES = random.Random(7).randbytes(300_000)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: Server) -> Scratch:
    return Scratch(
        tmp_path / "machine",
        {"BAKED_AMI_IMDS": server.url, "MODEL_ATTEMPTS": "3", "MODEL_PAUSE": "0"},
    )


def line(
    server: Server,
    path: str,
    destination: str,
    *,
    kind: str = "http",
    sha256: str = "-",
    size: int | str = "-",
    etag: str = "-",
    region: str = "-",
) -> str:
    fields = (kind, server.url + path, destination, sha256, str(size), etag, region)
    return "\t".join(fields) + "\n"


def test_models_arrive_whole_and_a_second_run_asks_for_nothing(
    machine: Scratch, server: Server
) -> None:
    lines = []
    for number in range(20):
        content = BYTES[: 1000 * number]  # An empty one is a model too.
        sha256 = server.put(f"/m{number}", content)
        lines.append(
            line(server, f"/m{number}", f"/opt/m/{number}.bin", sha256=sha256, size=len(content))
        )
    machine.give("models.tsv", "".join(lines))

    machine.run(STEP)
    before, asked = machine.snapshot(), len(server.requests)
    machine.run(STEP)

    assert machine.snapshot() == before
    assert len(server.requests) == asked
    assert len(before) == 20
    for number in range(20):
        got = (machine.root / f"opt/m/{number}.bin").read_bytes()
        assert got == BYTES[: 1000 * number]
        told = machine.result(STEP)["models"][f"/opt/m/{number}.bin"]
        assert told == hashlib.sha256(got).hexdigest()


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(
    machine: Scratch, server: Server
) -> None:
    sha256 = server.put("/m", BYTES)
    server.breaks["/m"] = 2
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256, size=len(BYTES)))

    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES
    assert [r for _, r in server.requests] == [
        "bytes=0-0",  # How big it is, and whether it comes in parts.
        "bytes=0-299999",
        "bytes=150000-299999",
        "bytes=225000-299999",
    ]


def test_a_big_file_comes_in_parts_beside_each_other(machine: Scratch, server: Server) -> None:
    sha256 = server.put("/m", BYTES)
    server.breaks["/m"] = 3  # Whichever parts they are: each goes on where it stopped.
    machine.environment["MODEL_PART_BYTES"] = "5000"
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256))

    machine.run(STEP)
    asked = len(server.requests)
    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES
    assert machine.result(STEP)["models"] == {"/opt/m": sha256}
    parts: dict[int, int] = {}
    for _, asked_for in server.requests[1:]:
        first, last = map(int, asked_for.removeprefix("bytes=").split("-"))
        parts[last] = min(first, parts.get(last, first))  # One that broke off goes on later.
    sizes = [last - first + 1 for last, first in sorted(parts.items())]
    assert sizes[0] == len(BYTES) // 16  # Two for each connection, then smaller and smaller.
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert sizes[-2] == 5000
    assert sum(sizes) == len(BYTES)
    assert len(server.requests) == asked == 1 + len(sizes) + 3


def test_a_big_file_with_a_wrong_byte_is_fetched_anew_and_then_refused(
    machine: Scratch, server: Server
) -> None:
    server.put("/m", BYTES)
    machine.environment["MODEL_PART_BYTES"] = "20000"
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256="0" * 64))

    kind, _ = machine.fail(STEP)

    assert kind == "model-checksum"
    assert machine.snapshot() == {}
    assert len(server.requests) == 1 + 15 + 2


def test_a_failed_part_ends_the_step_and_the_next_run_fetches_the_rest(
    machine: Scratch, server: Server
) -> None:
    sha256 = server.put("/m", BYTES)
    server.breaks["/m"] = 3
    machine.environment |= {"MODEL_PART_BYTES": "20000", "MODEL_ATTEMPTS": "1"}
    machine.environment |= {"MODEL_WORKERS": "2"}
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256))

    assert machine.fail(STEP)[0] == "model-truncated"
    while server.breaks["/m"] > 0:
        machine.fail(STEP)
    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES
    assert "bytes=75000-131249" in {r for _, r in server.requests}


def test_a_server_without_ranges_is_asked_from_the_start(machine: Scratch, server: Server) -> None:
    server.ranges = False
    sha256 = server.put("/m", BYTES)
    server.breaks["/m"] = 1
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256))

    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES


def test_a_rest_of_another_file_is_thrown_away(machine: Scratch, server: Server) -> None:
    sha256 = server.put("/m", BYTES)
    machine.put("/opt/.m.baked-ami-part", "the start of something else")
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256, size=len(BYTES)))

    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES


def test_a_changed_file_on_the_disk_is_fetched_again(machine: Scratch, server: Server) -> None:
    sha256 = server.put("/m", BYTES)
    machine.put("/opt/m", "x" * len(BYTES))
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256=sha256, size=len(BYTES)))

    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, "model-missing"), (410, "model-missing"), (403, "model-denied"), (401, "model-denied"),
     (412, "model-changed")],
)  # fmt: skip
def test_a_refusal_is_told_at_once(
    machine: Scratch, server: Server, status: int, kind: str
) -> None:
    server.status["/m"] = status
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256="0" * 64))

    told, message = machine.fail(STEP)

    assert told == kind
    assert message.startswith("/opt/m: ")
    assert f"{server.url}/m" in message
    assert len(server.requests) == 1
    assert machine.snapshot() == {}


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", "model-denied"), ("RequestTimeTooSkewed", "clock-skew")],
)
def test_a_refusal_of_s3_is_told_with_its_own_code(
    machine: Scratch, server: Server, code: str, kind: str
) -> None:
    server.status["/m"] = 403
    server.bodies["/m"] = f"<?xml?>\n<Error><Code>{code}</Code></Error>".encode()
    given = line(server, "/m", "/opt/m", kind="s3", size=9, region="ap-northeast-2")
    machine.give("models.tsv", given)

    told, message = machine.fail(STEP)

    assert told == kind
    assert message.endswith(code)


def test_a_wrong_checksum_names_both(machine: Scratch, server: Server) -> None:
    sha256 = server.put("/m", BYTES)
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256="0" * 64))

    kind, message = machine.fail(STEP)

    assert kind == "model-checksum"
    assert sha256 in message
    assert "0" * 64 in message
    assert machine.snapshot() == {}


def test_a_source_that_always_breaks_off_is_given_up(machine: Scratch, server: Server) -> None:
    server.put("/m", BYTES)
    server.breaks["/m"] = 99
    machine.give("models.tsv", line(server, "/m", "/opt/m", sha256="0" * 64, size=len(BYTES)))

    kind, message = machine.fail(STEP)

    assert kind == "model-truncated"
    assert "broke off 3 times" in message


def test_fewer_bytes_than_announced_are_refused(machine: Scratch, server: Server) -> None:
    server.put("/m", BYTES[:100])
    machine.give(
        "models.tsv", line(server, "/m", "/opt/m", kind="s3", size=200, region="ap-northeast-2")
    )

    kind, message = machine.fail(STEP)

    assert kind == "model-truncated"
    assert "100 bytes came, 200 were announced" in message


def test_a_host_that_does_not_answer_is_unreachable(machine: Scratch, server: Server) -> None:
    machine.environment["MODEL_ATTEMPTS"] = "1"
    fields = ("http", "http://127.0.0.1:9/m", "/opt/m", "0" * 64, "-", "-", "-")
    machine.give("models.tsv", "\t".join(fields) + "\n")

    kind, message = machine.fail(STEP)

    assert kind == "model-unreachable"
    assert "127.0.0.1" in message


def test_too_little_room_is_told_before_anything_is_fetched(
    machine: Scratch, server: Server
) -> None:
    server.put("/m", BYTES)
    machine.give("models.tsv", line(server, "/m", "/opt/m", kind="s3", size=10**17, region="r-1"))

    kind, message = machine.fail(STEP)

    assert kind == "disk-full"
    assert f"{10**17} more bytes" in message
    assert server.requests == []


def test_s3_is_asked_with_a_signature_that_botocore_agrees_to(
    machine: Scratch, server: Server
) -> None:
    path = "/models/a%20b/%C3%BC%2B1.bin"
    sha256 = server.put(path, BYTES)
    server.signed.add(path)
    server.breaks[path] = 1  # The rest is asked for with a range, signed anew.
    machine.give(
        "models.tsv",
        line(server, f"{path}?versionId=a.b_C-1", "/opt/m", kind="s3", size=len(BYTES),
             etag="abc", region="ap-northeast-2"),
    )  # fmt: skip

    output = machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES
    assert machine.result(STEP)["models"] == {"/opt/m": sha256}
    kept = output + "".join(p.read_text() for p in machine.state.rglob("*") if p.is_file())
    assert SECRET not in kept
    assert TOKEN not in kept


def test_an_address_and_a_place_are_taken_as_they_are(machine: Scratch, server: Server) -> None:
    """Brackets name no series of files, dots no folder above; nor does a place's name expand."""
    sha256 = server.put("/v[1-2]/../{a,b}.bin", BYTES)
    place = "/opt/m/x:1,%20+[a]*{b}~#=@.bin"
    machine.give("models.tsv", line(server, "/v[1-2]/../{a,b}.bin", place, sha256=sha256))

    machine.run(STEP)

    assert (machine.root / place[1:]).read_bytes() == BYTES
    assert machine.result(STEP)["models"] == {place: sha256}


def test_an_object_without_a_known_checksum_is_fetched_once_by_one_builder(
    machine: Scratch, server: Server
) -> None:
    server.put("/m", BYTES)
    given = line(server, "/m", "/opt/m", kind="s3", size=len(BYTES), etag="a", region="r-1")
    machine.give("models.tsv", given)
    machine.run(STEP)
    fetched = sum(path == "/m" for path, _ in server.requests)
    machine.run(STEP)

    assert sum(path == "/m" for path, _ in server.requests) == fetched == 1

    machine.give("models.tsv", given.replace("\ta\t", "\tanother-etag\t"))
    machine.run(STEP)
    assert sum(path == "/m" for path, _ in server.requests) == 2


def test_a_machine_without_a_role_says_so(machine: Scratch, server: Server) -> None:
    server.put("/m", BYTES)
    server.role = False
    machine.give("models.tsv", line(server, "/m", "/opt/m", kind="s3", region="ap-northeast-2"))

    kind, message = machine.fail(STEP)

    assert kind == "no-role"
    assert "instance profile" in message


def test_a_bucket_of_another_region_is_followed(machine: Scratch, server: Server) -> None:
    server.put("/m", BYTES)
    server.status["/s3.us-west-2.x/m"] = 301
    server.headers["/s3.us-west-2.x/m"] = {"x-amz-bucket-region": "eu-west-1"}
    sha256 = server.put("/s3.eu-west-1.x/m", BYTES)
    server.region = "eu-west-1"
    server.signed.add("/s3.eu-west-1.x/m")
    machine.give(
        "models.tsv",
        line(server, "/s3.us-west-2.x/m", "/opt/m", kind="s3", sha256=sha256, region="us-west-2"),
    )

    machine.run(STEP)

    assert (machine.root / "opt/m").read_bytes() == BYTES
