"""A stack in one's own account, from any shell: what Pulumi is told, and what is left to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.toolchain.conftest import CHECKOUT
from toolchain import own_account

PYTHON = sys.executable
PULUMI = """#!/bin/sh
echo "$*" >>"$PULUMI_LOG"
for last; do [ "$before" != --config-file ] || cp "$last" "$PULUMI_LOG.file"; before=$last; done
if [ -p "$PULUMI_LOG.ready" ]; then
    trap 'echo "tidying up" >>"$PULUMI_LOG"; exit 3' INT TERM
    echo ready >"$PULUMI_LOG.ready"
    while :; do read -r _ <"$PULUMI_LOG.never"; done
fi
exit 7
"""


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up `pulumi` that is found first; the path of the log of its calls."""
    (tmp_path / "pulumi").write_text(PULUMI)
    (tmp_path / "pulumi").chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PULUMI_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.mark.parametrize("action", ["preview", "up", "destroy"])
def test_an_action_is_pulumis_own_with_its_exit_status(pulumi: Path, action: str) -> None:
    assert own_account.main([action, "--stack", "local", "--yes"]) == 7
    assert pulumi.read_text() == f"{action} --stack local --yes\n"


def test_debug_holds_for_one_run_and_leaves_the_settings_file_alone(pulumi: Path) -> None:
    before = (CHECKOUT / "Pulumi.local.yaml").read_bytes()
    own_account.main(["up", "--stack", "local", "--debug"])
    words = pulumi.read_text().split()
    copy = Path(words[words.index("--config-file") + 1])
    assert copy.name == "Pulumi.local.yaml"
    assert not copy.exists()
    assert pulumi.with_name("log.file").read_bytes() == before
    assert words[-5:] == [
        "--config-path",
        *("--config", "baked-ami:build.debug=true"),
        *("--config", "baked-ami:build.onFailure=keep"),
    ]
    assert (CHECKOUT / "Pulumi.local.yaml").read_bytes() == before


def test_a_stack_without_a_file_is_named_and_nothing_is_run(
    pulumi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_account.main(["up", "--stack", "staging"]) == 2
    assert "there is no Pulumi.staging.yaml" in capsys.readouterr().err
    assert not pulumi.exists()


def test_without_pulumi_it_says_where_to_get_it(
    pulumi: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (pulumi.parent / "pulumi").unlink()
    monkeypatch.setenv("PATH", "")
    assert own_account.main(["up", "--stack", "local"]) == 2
    assert "https://www.pulumi.com/docs/install/" in capsys.readouterr().err


@pytest.mark.parametrize(("stack", "status"), [("local", 0), ("dev", 2)])
def test_validate_reads_the_settings_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
    pulumi: Path,
    capfd: pytest.CaptureFixture[str],
    stack: str,
    status: int,
) -> None:
    monkeypatch.setattr(sys, "executable", PYTHON)
    assert own_account.main(["validate", "--stack", stack]) == status
    said = capfd.readouterr()
    assert not pulumi.exists()
    if status == 0:
        assert "Pulumi.local.yaml: the settings can be used, for ap-northeast-2." in said.out
    else:
        assert "4 settings are not usable" in said.err
        assert "baked-ami:subnetIds[0]: still holds the placeholder" in said.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["own_account", "on_local_cloud"])
def test_pulumi_decides_itself_when_it_ends_after_a_signal(
    pulumi: Path, number: signal.Signals, module: str
) -> None:
    for name in ("log.ready", "log.never"):
        os.mkfifo(pulumi.with_name(name))
    words = ["up", "--stack", "local"] if module == "own_account" else ["preview"]
    process = subprocess.Popen(
        [sys.executable, "-m", f"toolchain.{module}", *words],
        cwd=CHECKOUT, stdin=subprocess.DEVNULL,
        env=dict(os.environ) | {"PATH": f"{pulumi.parent}:/usr/bin:/bin", "AWS_ENDPOINT_URL": "x"},
    )  # fmt: skip
    assert pulumi.with_name("log.ready").read_text() == "ready\n"
    process.send_signal(number)
    assert process.wait() == 3
    assert pulumi.read_text().endswith("\ntidying up\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_pulumi_is_being_started_is_handed_on(
    pulumi: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    for name in ("log.ready", "log.never"):
        os.mkfifo(pulumi.with_name(name))

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            assert pulumi.with_name("log.ready").read_text() == "ready\n"
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.getsignal(number)
    assert own_account.main(["up", "--stack", "local"]) == 3
    assert signal.getsignal(number) is before
    assert pulumi.read_text().endswith("\ntidying up\n")


def test_the_powershell_script_offers_what_there_is_and_hands_it_on() -> None:
    """No PowerShell can be had where the tests run: it is kept thin enough to be read."""
    script = (CHECKOUT / "build-ami.ps1").read_text()
    (offered,) = re.findall(r"\[ValidateSet\((.*)\)\]", script)
    assert set(re.findall(r"'(\w+)'", offered)) == {"preview", "up", "validate", "destroy"}
    assert "@('-m', 'toolchain.own_account', $Action, '--stack', $Stack) + $More" in script
    assert len([line for line in script.partition("#>")[2].splitlines() if line.strip()]) < 30


def test_no_program_file_is_out_of_reach_on_windows() -> None:
    """What a person on Windows runs imports nothing that is there on Unix only."""
    gone = ("fcntl", "grp", "pwd", "resource", "termios")
    program = (
        f"import sys; sys.modules |= dict.fromkeys({gone}); "
        "import ami_provider, ami_provider.__main__, ami_provider.access, batch, batch.network, "
        "policies.__main__, settings.__main__, toolchain.own_account"
    )
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, check=True)


def test_a_checkout_on_windows_has_every_name_and_unix_line_ends(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    clone = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", "clone", "-q"]
    subprocess.run([*clone, str(CHECKOUT), str(copy)], check=True)
    files = subprocess.run(
        ["git", "-C", str(copy), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout.split("\0")[:-1]
    assert len({name.lower() for name in files}) == len(files)
    reserved = re.compile(r'[<>:"|?*\\]|[. ](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)', re.I)
    assert [name for name in files if reserved.search(name) or len(name) > 120] == []
    texts = [name for name in files if not name.endswith(".png")]
    assert [name for name in texts if b"\r\n" in (copy / name).read_bytes()] == []
    assert (copy / "docs/report.png").read_bytes().startswith(b"\x89PNG\r\n")
    local = yaml.safe_load((copy / "Pulumi.yaml").read_text())
    assert local["name"] == "baked-ami"
