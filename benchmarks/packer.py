"""What a bake costs beyond what the cloud itself takes, beside Packer's: seconds and AWS calls.

`python benchmarks/packer.py` gets Packer (`peers.py`), then leaves the network: all of it runs in a
namespace with nothing but `lo`, on local clouds whose machines are only recorded and whose every
change of state takes 5 s or 20 s. In a round all start at the same moment, each a process of its
own with an access key of its own, by which its calls are told apart.

Packer launches, stops, images, terminates and waits for each (4 changes of state). A bake launches
and images (2); it does not stop the machine, nor wait for its end. Beside that it runs its steps
through SSM, which Packer here has none of; and it checks the AMI on a machine of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measuring import Target, finish, spread  # noqa: E402
from benchmarks.peers import Packer, environment_of, get_packers  # noqa: E402
from local_cloud.calls import read_calls  # noqa: E402

BAKE = str(ROOT / "benchmarks" / "one_bake.py")
GPU_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
SUBNET, GROUP = "subnet-0a10ca10000000001", "sg-0a10ca1000000000f"
PROFILES = {"5s": 5.0, "20s": 20.0}
"""The local cloud's profiles, and the seconds that each change of state takes."""
CHANGES = {"ours": 2, "ours, verified": 3, "packer": 4}
"""Changes of state that each waits for, one after the other."""
TOGETHER = 10
EXCESS, CALLS, ALL_CALLS = 0.25, 1.5, 1.8
"""Ours at most, as a share of Packer's: seconds beyond the cloud's own, calls for the same work,
and all of them, with those that run steps."""


@click.command(help=__doc__)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1, 20))
@click.option("--current/--debian-only", default=True, help="Build a current Packer too (7 min).")
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--measure", hidden=True, type=(str, str, click.Path(path_type=Path)))
def main(
    rounds: int, current: bool, result_file: Path | None, measure: tuple[str, str, Path] | None
) -> None:
    """Exits 1 where a target is not met."""
    packers = get_packers(current=current)
    if measure:
        profile, state, answer = measure
        answer.write_text(json.dumps(Side.measure_all(packers, profile, Path(state), rounds)))
        return
    if not packers:
        raise click.ClickException("there is neither apt-get nor go: no Packer to compare with")
    with tempfile.TemporaryDirectory(prefix="benchmark-packer-") as folder:
        results = run_without_network(Path(folder), rounds, current)
    targets = show(results)
    sys.exit(finish({"rounds": rounds, "profiles": results}, targets, result_file))


def run_without_network(folder: Path, rounds: int, current: bool) -> dict[str, Any]:
    """Both profiles at the same time, each on a local cloud of its own: it is all waiting."""
    processes = {}
    for profile in PROFILES:
        state, answer = folder / f"state-{profile}", folder / f"{profile}.json"
        own = [sys.executable, str(Path(__file__).resolve()), "--rounds", str(rounds),
               "--current" if current else "--debian-only",
               "--measure", profile, str(state), str(answer)]  # fmt: skip
        cloud = [sys.executable, "-m", "local_cloud", "run", "--recorded", "--latency", profile,
                 "--state", str(state), "--", *own]  # fmt: skip
        alone = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else []), "--",
                 "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]  # fmt: skip
        processes[profile] = (subprocess.Popen([*alone, *cloud], cwd=ROOT), answer)
    for profile, (process, _) in processes.items():
        if process.wait():
            raise click.ClickException(f"profile {profile}: exit status {process.returncode}")
    return {profile: json.loads(answer.read_text()) for profile, (_, answer) in processes.items()}


class Side:
    """One who makes AMIs: ours, or a Packer. Its results are seconds and calls of each round."""

    def __init__(self, name: str, state: Path, packer: Packer | None = None) -> None:
        self.name, self.state, self.packer = name, state, packer
        self.floor = CHANGES.get(name, CHANGES["packer"])
        self.rounds: list[dict[str, Any]] = []

    @classmethod
    def measure_all(
        cls, packers: list[Packer], profile: str, state: Path, rounds: int
    ) -> dict[str, Any]:
        """Rounds of one AMI each, all sides at once; then ten at once, one side after the other."""
        create_builder_profile()
        sides = [cls(name, state) for name in ("ours", "ours, verified")]
        sides += [cls(f"packer {one.version}", state, one) for one in packers]
        for number in range(rounds):
            threads = [threading.Thread(target=s.make, args=(number, 1)) for s in sides]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        result = {"state_s": PROFILES[profile], "one": {s.name: s.told() for s in sides}}
        if profile == "5s":
            many = [cls(s.name, state, s.packer) for s in sides if s.name != "ours, verified"]
            for side in many:
                side.make(rounds, TOGETHER)
            result["ten"] = {side.name: side.told() for side in many}
        return result

    def make(self, number: int, how_many: int) -> None:
        """So many AMIs at once: seconds from the first process's start to the last one's end."""
        key = f"{self.name}-{number}-{how_many}".replace(" ", "-").replace(",", "")
        with tempfile.TemporaryDirectory(prefix="benchmark-packer-home-") as home:
            commands = self._commands(key, how_many, Path(home))
            started = time.perf_counter()
            running = [
                subprocess.Popen(
                    command, env=environment, cwd=ROOT, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )
                for command, environment in commands
            ]  # fmt: skip
            said = [one.communicate()[0] for one in running]
            seconds = time.perf_counter() - started
        for process, text in zip(running, said, strict=True):
            if process.returncode:
                raise SystemExit(f"{self.name} failed:\n{text[-3000:]}")
        self.rounds.append({"seconds": seconds, **count_calls(self.state, key)})

    def _commands(
        self, key: str, how_many: int, home: Path
    ) -> list[tuple[list[str], dict[str, str]]]:
        """Ours bakes all in one process, as Pulumi's provider does; a Packer makes one each."""
        aws = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        if self.packer is None:
            verify = "on" if self.name == "ours, verified" else "off"
            environment = {**os.environ, "AWS_ACCESS_KEY_ID": key}
            return [([sys.executable, BAKE, key, str(how_many), verify, find_base()], environment)]
        environment = environment_of(self.packer, home) | aws | {"AWS_ACCESS_KEY_ID": key}
        commands = []
        for number in range(how_many):
            template = home / f"{number}.json"
            template.write_text(json.dumps(template_of(f"{key}-{number}")))
            commands.append(([str(self.packer.executable), "build", str(template)], environment))
        return commands

    def told(self) -> dict[str, Any]:
        return {"changes": self.floor, "rounds": self.rounds}


def template_of(name: str) -> dict[str, Any]:
    """A Packer template that makes one AMI and runs nothing on the machine."""
    builder: dict[str, Any] = {
        "type": "amazon-ebs", "region": os.environ["AWS_REGION"], "communicator": "none",
        "custom_endpoint_ec2": os.environ["AWS_ENDPOINT_URL"], "skip_metadata_api_check": True,
        "skip_credential_validation": True, "skip_region_validation": True,
        "source_ami": find_base(), "instance_type": "g5.xlarge", "subnet_id": SUBNET,
        "security_group_id": GROUP, "ami_name": name, "tags": {"made-by": name},
    }  # fmt: skip
    return {"builders": [builder]}


@cache
def find_base() -> str:
    """The base AMI's ID."""

    return str(boto3.client("ssm").get_parameter(Name=GPU_IMAGE)["Parameter"]["Value"])


def create_builder_profile() -> None:
    """The role that builders have."""
    iam = boto3.client("iam")
    iam.create_role(RoleName="builder", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="builder")
    iam.add_role_to_instance_profile(InstanceProfileName="builder", RoleName="builder")


def count_calls(state: Path, key: str) -> dict[str, Any]:
    """What one access key called. `steps` are the calls that run commands on the machine."""
    calls = [c for c in read_calls(state / "calls.jsonl") if c["access_key"] == key]
    by_action = Counter(call["action"] for call in calls)
    return {
        "calls": len(calls),
        "steps": by_action["SendCommand"] + by_action["GetCommandInvocation"],
        "by_action": dict(by_action.most_common()),
    }


def show(results: dict[str, Any]) -> list[Target]:
    """The table; the targets, each against the fastest and thriftiest Packer there is."""
    table = Table(title="Making an AMI beyond what the cloud itself takes: min / median / max")
    for head in ("profile", "AMIs", "who", "cloud's own s", "in all s", "beyond s", "calls",
                 "of them for steps"):  # fmt: skip
        table.add_column(head, justify="left" if head == "who" else "right")
    targets: list[Target] = []
    for profile, found in results.items():
        for many, group in ((1, "one"), (TOGETHER, "ten")):
            if group in found:
                rows = found[group]
                for who, told in rows.items():
                    add_row(table, profile, many, who, told, found["state_s"])
                targets += judge(f"{profile}, {many} at once", rows, found["state_s"])
        table.add_section()
    Console(width=120).print(table)
    return targets


def add_row(
    table: Table, profile: str, many: int, who: str, told: dict[str, Any], state_s: float
) -> None:
    seconds = [one["seconds"] for one in told["rounds"]]
    floor = told["changes"] * state_s
    table.add_row(
        profile, str(many), who, f"{floor:.0f}", spread(seconds),
        spread([one - floor for one in seconds]),
        spread([one["calls"] for one in told["rounds"]]),
        spread([one["steps"] for one in told["rounds"]]),
    )  # fmt: skip


def judge(what: str, rows: dict[str, Any], state_s: float) -> list[Target]:
    def middle(who: str, read: Any) -> float:
        return float(statistics.median(read(one) for one in rows[who]["rounds"]))

    def beyond(who: str) -> float:
        floor = float(rows[who]["changes"] * state_s)
        return middle(who, lambda one: one["seconds"]) - floor

    packers = [who for who in rows if who.startswith("packer")]
    theirs, calls = min(map(beyond, packers)), min(middle(w, lambda o: o["calls"]) for w in packers)
    ours, bare = (
        middle("ours", read) for read in (lambda o: o["calls"], lambda o: o["calls"] - o["steps"])
    )
    return [
        Target(f"{what}: ours / Packer, seconds beyond the cloud's own",
               beyond("ours") / theirs, most=EXCESS),
        Target(f"{what}: AWS calls but for the steps'", bare / calls, most=CALLS),
        Target(f"{what}: all AWS calls, Packer running no step", ours / calls, most=ALL_CALLS),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
