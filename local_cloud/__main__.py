"""The command: `python -m local_cloud serve|run|inside|inventory|calls|jobs`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from local_cloud import remote
from local_cloud.batch_settings import AmiReading, SettingsError, settings_from_environment
from local_cloud.environment import client_environment
from local_cloud.faults import Faults, FaultsFileError, read_faults
from local_cloud.signals import Signals
from local_cloud.state import StateError

STATE = click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps everything between runs; without it all is gone at the end.",
)  # fmt: skip
FAULTS = click.option(
    "--faults", "faults_file", type=click.Path(dir_okay=False, path_type=Path),
    help="JSON list of failures on order.",
)  # fmt: skip
LATENCY = click.option(
    "--latency", metavar="PROFILE", envvar="LOCAL_CLOUD_LATENCY",
    help="How long things take: a JSON file, or the name of a built-in profile (aws, 1s, 5s, 20s).",
)  # fmt: skip
RECORDED = click.option(
    "--recorded",
    is_flag=True,
    envvar="LOCAL_CLOUD_RECORDED",
    help="Only record machines, also where real ones could run.",
)
READING = click.option(
    "--batch-ami-reading", type=click.Choice(["guide", "strict"]),
    envvar="LOCAL_CLOUD_BATCH_AMI_READING", default="guide", show_default=True,
    help="Whether a template's AMI moves with its version, or by updateToLatestImageVersion only.",
)  # fmt: skip
DETAILS = click.option(
    "--call-details", type=click.Path(dir_okay=False, path_type=Path),
    help="File that gets a line of JSON for each call: who, what, on what, with which tags.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def main() -> None:
    """AWS on this machine."""


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 picks a free one.")
@STATE
@FAULTS
@LATENCY
@RECORDED
@READING
@DETAILS
def serve(
    port: int,
    state: Path | None,
    faults_file: Path | None,
    latency: str | None,
    recorded: bool,
    batch_ami_reading: AmiReading,
    call_details: Path | None,
) -> None:
    """Answer until Ctrl-C; one line of JSON with the endpoint says when it is ready."""
    signals = Signals(signal.SIGINT, signal.SIGTERM)
    cloud = _open(
        port=port, state=state, faults_file=faults_file, latency=latency,
        recorded=recorded, ami_reading=batch_ami_reading, details=call_details,
    )  # fmt: skip
    with _closed_after(cloud):
        ready = {
            "endpoint": cloud.endpoint, "region": cloud.region, "account": cloud.account,
            "machines": "real" if cloud.real else "recorded", "pid": os.getpid(),
        }  # fmt: skip
        click.echo(json.dumps(ready))
        sys.stdout.flush()
        signals.next()


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@STATE
@FAULTS
@LATENCY
@RECORDED
@READING
@DETAILS
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    state: Path | None,
    faults_file: Path | None,
    latency: str | None,
    recorded: bool,
    batch_ami_reading: AmiReading,
    call_details: Path | None,
    command: tuple[str, ...],
) -> None:
    """Start a cloud with seed data, run COMMAND against it, stop it; exits as COMMAND does."""
    signals = Signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    cloud = _open(
        port=0, state=state, faults_file=faults_file, latency=latency,
        recorded=recorded, ami_reading=batch_ami_reading, details=call_details,
    )  # fmt: skip
    with _closed_after(cloud):
        _seed(cloud)
        if signals.came():
            raise SystemExit(128 + signals.next())
        status = _follow(_start(command, client_environment(cloud)), signals)
    sys.exit(status if status >= 0 else 128 - status)


def _start(command: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Run the command, or exit as a shell does where that cannot be."""
    try:
        return subprocess.Popen(command, env=environment)
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        raise SystemExit(127 if isinstance(error, FileNotFoundError) else 126) from None


def _follow(child: subprocess.Popen[bytes], signals: Signals) -> int:
    """Wait for the command, and pass on to it what this process is sent; its exit status."""

    def wait() -> None:
        child.wait()
        signals.wake()

    threading.Thread(target=wait, name="command", daemon=True).start()
    while (number := signals.next()) != Signals.WOKEN:
        # A terminal's Ctrl-C reaches the child by itself: it is in the same process group.
        if not (number == signal.SIGINT and sys.stdin.isatty()):
            child.send_signal(number)
    return child.wait()


@main.command()
@STATE
@JSON
def inventory(state: Path | None, as_json: bool) -> None:
    """List what the account owns right now."""
    from local_cloud.inventory import in_words

    found = _asked(lambda: remote.get_inventory(state))
    click.echo(json.dumps(found, indent=2, default=str) if as_json else in_words(found))


@main.command()
@STATE
@JSON
def calls(state: Path | None, as_json: bool) -> None:
    """Show the AWS calls made so far, and how many of each."""
    found = _asked(lambda: remote.get_calls(state))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{found['total']} calls, {found['mutating']} of them mutating")
    for action, count in found["by_action"].items():
        click.echo(f"{count:6}  {action}")


@main.command()
@STATE
@JSON
def jobs(state: Path | None, as_json: bool) -> None:
    """Show when each stage of each Batch job was reached."""
    from local_cloud.timelines import in_words

    found = _asked(lambda: remote.get_jobs(state))
    click.echo(json.dumps(found, indent=2) if as_json else in_words(found["jobs"]))


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@STATE
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def inside(state: Path | None, command: tuple[str, ...]) -> None:
    """Run COMMAND as root in the machines' network, where SSH reaches them; exits as it does."""
    found = _asked(lambda: remote.get_network(state))
    environment = os.environ | {"AWS_ENDPOINT_URL": found["endpoint"]}
    os.execvpe("nsenter", ["nsenter", f"--net={found['namespace']}", *command], environment)  # noqa: S606


def _open(
    *, port: int, state: Path | None, faults_file: Path | None, latency: str | None,
    recorded: bool, ami_reading: AmiReading, details: Path | None,
) -> Any:  # fmt: skip
    from local_cloud.cloud import Cloud
    from local_cloud.latency import ProfileError, read_profile

    try:
        faults = read_faults(faults_file) if faults_file else Faults()
        profile = read_profile(latency) if latency else None
        batch = settings_from_environment()
        batch.ami_reading = ami_reading
        return Cloud(
            state=state, faults=faults, latency=profile, port=port, real=not recorded,
            batch=batch, details=details,
        ).start()  # fmt: skip
    except (FaultsFileError, ProfileError, SettingsError, StateError) as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _closed_after(cloud: Any) -> Iterator[None]:
    try:
        yield
    finally:
        try:
            cloud.close()
        except StateError as error:
            raise click.ClickException(str(error)) from None


def _seed(cloud: Any) -> None:
    try:
        from local_cloud.seed import seed
    except ModuleNotFoundError as error:
        if error.name != "local_cloud.seed":
            raise
        return
    seed(cloud)


def _asked(ask: Any) -> dict[str, Any]:
    try:
        found = ask()
    except (remote.NoCloudError, StateError) as error:
        raise click.ClickException(str(error)) from None
    assert isinstance(found, dict)
    return found


if __name__ == "__main__":
    main(prog_name="python -m local_cloud")
