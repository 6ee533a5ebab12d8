"""What a preview without changes costs, beside the same program with an empty dynamic provider.

`python benchmarks/preview.py` starts a local cloud, brings both up once, then previews them in
turn, so that whatever else the machine does falls on both alike. Beside the time it shows what the
processors did for it, which other work on the machine changes less.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1.2
"""The most that our provider's preview may take, as a multiple of the empty one's time."""

SHARED = ("__main__.py", "settings", "batch", "Pulumi.local.yaml")


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(rounds: int, result_file: Path | None) -> None:
    """Exits 1 where the ratio of the medians is above the limit."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        own = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        run = [sys.executable, "-m", "local_cloud", "run", "--", *own]
        sys.exit(subprocess.run(run, cwd=ROOT, check=False).returncode)
    with tempfile.TemporaryDirectory(prefix="benchmark-preview-") as folder:
        result = measure(Path(folder), rounds)
    show(result)
    if result_file:
        result_file.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if result["ratio"] <= LIMIT else 1)


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds and processor seconds of each preview, by program, and what follows from them."""
    programs = {"ours": lay_out(folder / "ours"), "empty": lay_out(folder / "empty")}
    pulumi(programs["ours"], "up", "--yes")
    os.environ["BENCHMARK_AMI"] = json.dumps(constants(programs["ours"]))
    pulumi(programs["empty"], "up", "--yes")
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    worked: dict[str, list[float]] = {name: [] for name in programs}
    for at in range(rounds + 1):
        # Who comes second finds the machine as the first one left it: they take turns in that too.
        for name, program in sorted(programs.items(), reverse=bool(at % 2)):
            started, before = time.perf_counter(), processor_seconds()
            pulumi(program, "preview", "--expect-no-changes")
            if at:  # the first round warms the disk's cache and counts for nothing
                seconds[name].append(time.perf_counter() - started)
                worked[name].append(processor_seconds() - before)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    work = {name: statistics.median(taken) for name, taken in worked.items()}
    return {
        "rounds": rounds,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "seconds": {name: [round(one, 3) for one in taken] for name, taken in seconds.items()},
        "median": {name: round(one, 3) for name, one in middle.items()},
        "processor_seconds": {name: [round(one, 3) for one in w] for name, w in worked.items()},
        "ratio": round(middle["ours"] / middle["empty"], 3),
        "processor_ratio": round(work["ours"] / work["empty"], 3),
        "limit": LIMIT,
    }


def processor_seconds() -> float:
    """What all processes that ran below this one, and have ended, used of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lay_out(program: Path) -> Path:
    """A copy of the program with an engine state of its own; `empty` gets the empty provider."""
    program.mkdir()
    for name in SHARED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, program / name)
    if program.name == "ours":
        shutil.copytree(ROOT / "ami_provider", program / "ami_provider")
    else:
        package = program / "ami_provider"
        package.mkdir()
        shutil.copy(ROOT / "benchmarks" / "empty_ami_provider.py", package / "__init__.py")
        shutil.copy(ROOT / "ami_provider" / "access.py", package / "access.py")
    project = (ROOT / "Pulumi.yaml").read_text()
    venv = Path(sys.executable).parent.parent  # not .venv: the copy has none of its own
    (program / "Pulumi.yaml").write_text(project.replace(".venv", str(venv)))
    (program / "state").mkdir()
    pulumi(program, "stack", "init", "local")
    return program


def constants(ours: Path) -> dict[str, Any]:
    """What the empty provider answers with: the outputs that ours had."""
    exported = json.loads(pulumi(ours, "stack", "output", "--json"))
    (image,) = exported["manifest"]["images"]
    return {
        "ami_id": exported["amiId"],
        "ami_name": exported["amiName"],
        "fingerprint": exported["fingerprint"],
        "manifest": exported["manifest"],
        "sizes": {},
        "images": [{**image, "uri": f"{image['repository']}@{image['digest']}"}],
    }


def pulumi(program: Path, *arguments: str) -> str:
    """What the command printed; its own words and a stop where it fails."""
    environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{program / 'state'}"}
    stack = [] if arguments[0] == "stack" and arguments[1] == "init" else ["--stack", "local"]
    done = subprocess.run(
        ["pulumi", *arguments, *stack, "--non-interactive"],
        cwd=program,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise click.ClickException(f"{' '.join(done.args)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def show(result: dict[str, Any]) -> None:
    """The table that a person reads."""
    table = Table(title=f"pulumi preview without changes, {result['rounds']} rounds in turn")
    for heading in ("provider", "min s", "median s", "max s", "processor s"):
        table.add_column(heading, justify="left" if heading == "provider" else "right")
    for name, taken in result["seconds"].items():
        work = statistics.median(result["processor_seconds"][name])
        shown = (min(taken), statistics.median(taken), max(taken), work)
        table.add_row(name, *(f"{one:.2f}" for one in shown))
    verdict = "within" if result["ratio"] <= LIMIT else "above"
    console = Console()
    console.print(table)
    console.print(f"ours / empty = {result['ratio']:.2f}, {verdict} the limit of {LIMIT}")
    console.print(f"of the processors' time: {result['processor_ratio']:.2f}")
    console.print(f"{result['machine']}, Python {result['python']}")


if __name__ == "__main__":
    main()
