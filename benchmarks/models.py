"""The step that fetches models beside a script that downloads one after the other, as templates do.

`python benchmarks/models.py` serves the same files to both from a server that limits each
connection, and from one behind a link that all connections share; it also takes the memory of the
step's processes. No cloud, no root.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Target  # noqa: E402

STEPS = ROOT / "ami_provider" / "steps"
MIB = 1 << 20
PIECE = 64 * 1024
CONNECTION, LINK = 2 * MIB, 20 * MIB
"""Bytes a second of a limited connection, and of the link."""

SPEEDUP, LINK_SHARE, MEMORY_MIB = 4.0, 0.9, 200.0
"""What the command holds the step to: times a sequential script where each connection is limited,
share of a shared link, MiB of all the step's processes."""

# What the template's own download function does, for each model.
SEQUENTIAL = 'while read -r url file; do curl -fsSL -o "$file" "$url" || exit 1; done'


@dataclass(frozen=True)
class Case:
    """One server and its files. Rates are bytes a second; `link` is shared by all connections."""

    name: str
    sizes: tuple[int, ...]
    per_connection: float | None = None
    link: float | None = None


@dataclass
class Link:
    """Bytes that all connections together may send: a bucket that fills at the rate, 0.2 s deep."""

    rate: float
    due: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, size: int) -> None:
        with self.lock:
            self.due = max(self.due, time.monotonic() - 0.2) + size / self.rate
            pause = self.due - time.monotonic()
        if pause > 0:
            time.sleep(pause)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = self.server.case.sizes[int(self.path.strip("/"))]
        first, last, status = 0, size - 1, 200
        if wanted := self.headers.get("Range"):
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last, status = int(start), min(int(end or last), last), 206
        self.send_response(status)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        self._send(last - first + 1)

    def _send(self, left: int) -> None:
        due = time.monotonic()
        rate = self.server.case.per_connection
        while left > 0:
            piece = min(PIECE, left)
            if self.server.link:
                self.server.link.wait(piece)
            if rate:
                due += piece / rate
                time.sleep(max(0.0, due - time.monotonic()))
            self.wfile.write(bytes(piece))
            left -= piece

    def log_message(self, *_: object) -> None:
        """Nothing: the command prints a table."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    case: Case
    link: Link | None


@contextmanager
def serve(case: Case) -> Iterator[str]:
    """The case's files, of zeros, at `<url>/0`, `<url>/1` …"""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.case, server.link = case, Link(case.link) if case.link else None
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def fetch_by_step(case: Case, url: str, folder: Path) -> tuple[list[str], dict[str, str], str]:
    """The step's command, environment and standard input, its parameters laid out in `folder`."""
    state, root = folder / "state", folder / "root"
    state.mkdir()
    root.mkdir()
    rows = [
        ("http", f"{url}/{at}", f"/opt/ml/models/{at}", sha256_of_zeros(size), "-", "-", "-")
        for at, size in enumerate(case.sizes)
    ]
    (state / "models.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    environment = {"BAKED_AMI_STATE": str(state), "BAKED_AMI_ROOT": str(root)}
    return ["bash", str(STEPS / "45-fetch-models.sh")], environment, ""


def fetch_one_by_one(case: Case, url: str, folder: Path) -> tuple[list[str], dict[str, str], str]:
    lines = "".join(f"{url}/{at} {folder / str(at)}\n" for at in range(len(case.sizes)))
    return ["bash", "-c", SEQUENTIAL], {}, lines


def sha256_of_zeros(size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, MIB):
        digest.update(bytes(min(MIB, size - start)))
    return digest.hexdigest()


Way = Callable[[Case, str, Path], tuple[list[str], dict[str, str], str]]
WAYS: dict[str, Way] = {"ours": fetch_by_step, "one by one": fetch_one_by_one}


def measure(case: Case, way: Way) -> dict[str, float]:
    """Seconds, and the most memory that the processes had at once (their proportional share)."""
    with tempfile.TemporaryDirectory(prefix="benchmark-models-") as folder, serve(case) as url:
        command, environment, given = way(case, url, Path(folder))
        most = 0.0
        started = time.perf_counter()
        with subprocess.Popen(
            command, env={**os.environ, **environment}, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin:
                process.stdin.write(given)
            while process.poll() is None:
                most = max(most, memory_of_session(process.pid))
                time.sleep(0.1)
            output = process.stdout.read()
        seconds = time.perf_counter() - started
    if process.returncode:
        raise click.ClickException(f"{case.name}: {output[-800:]}")
    return {"seconds": round(seconds, 2), "memory_mib": round(most / MIB, 1)}


def memory_of_session(leader: int) -> float:
    """Bytes of all processes of the session, what they share counted once."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            if session != leader:
                continue
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue  # it has ended
    return total


def list_cases(scale: float) -> list[Case]:
    def size(mib: float) -> int:
        return int(mib * scale * MIB)

    return [
        Case("16 files, slow lines", (size(4),) * 16, per_connection=CONNECTION),
        Case("1 file, slow lines", (size(128),), per_connection=CONNECTION),
        Case("16 files, one link", (size(32),) * 16, link=LINK),
        Case("1 file, one link", (size(512),), link=LINK),
    ]


@click.command(help=__doc__)
@click.option("--scale", default=1.0, show_default=True, help="Sizes of the files, as a factor.")
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(scale: float, result_file: Path | None) -> None:
    """Exits 1 where a limit is not held."""
    rows = [judge(case) for case in list_cases(scale)]
    result = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "limits": {"speedup": SPEEDUP, "link_share": LINK_SHARE, "memory_mib": MEMORY_MIB},
        "cases": rows,
        "targets": [target.to_json() for row in rows for target in list_targets(row)],
    }
    show(rows, result)
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if all(row["held"] for row in rows) else 1)


def judge(case: Case) -> dict[str, Any]:
    """Both ways through one case, and whether ours keeps what it is held to."""
    found = {name: measure(case, way) for name, way in WAYS.items()}
    ours, theirs = found["ours"], found["one by one"]
    ratio = theirs["seconds"] / ours["seconds"]
    share = sum(case.sizes) / ours["seconds"] / case.link if case.link else None
    fast = ratio >= SPEEDUP if share is None else share >= LINK_SHARE
    return {
        "case": case.name,
        "mib": round(sum(case.sizes) / MIB, 1),
        **found,
        "ratio": round(ratio, 2),
        "link_share": share and round(share, 3),
        "held": fast and ours["memory_mib"] < MEMORY_MIB,
    }


def list_targets(row: dict[str, Any]) -> list[Target]:
    """What a case is held to, for `all.py`."""
    share, case = row["link_share"], row["case"]
    speed = (
        Target(f"{case}: times one after the other", row["ratio"], least=SPEEDUP)
        if share is None
        else Target(f"{case}: share of the link", share, least=LINK_SHARE)
    )
    return [speed, Target(f"{case}: memory, MiB", row["ours"]["memory_mib"], most=MEMORY_MIB)]


def show(rows: list[dict[str, Any]], result: dict[str, Any]) -> None:
    table = Table(title="fetching models: the step beside one curl after the other")
    for heading in ("case", "MiB", "ours s", "curl s", "ratio", "of link", "memory", ""):
        table.add_column(heading, justify="left" if heading == "case" else "right", no_wrap=True)
    for row in rows:
        share = "" if row["link_share"] is None else f"{row['link_share']:.0%}"
        table.add_row(
            row["case"], f"{row['mib']:.0f}", f"{row['ours']['seconds']:.1f}",
            f"{row['one by one']['seconds']:.1f}", f"{row['ratio']:.1f}", share,
            f"{row['ours']['memory_mib']:.0f}", "" if row["held"] else "FAILED",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        f"Slow lines: {CONNECTION / MIB:.0f} MiB/s each; one link: {LINK / MIB:.0f} MiB/s.\n"
        f"Held to: {SPEEDUP:.0f} times curl on slow lines, {LINK_SHARE:.0%} of "
        f"the link, below {MEMORY_MIB:.0f} MiB.\n{result['machine']}"
    )


if __name__ == "__main__":
    main()
