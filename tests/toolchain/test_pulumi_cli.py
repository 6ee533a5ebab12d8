"""What `python -m toolchain ensure` uses, builds, refuses and says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.conftest import CHECKOUT, Machine, assert_complete
from toolchain.pulumi_cli import EXECUTABLES, VERSION

INSTALLED = "#!/bin/sh\necho v3.300.1\n"


def test_builds_once_and_prints_only_the_folder_on_standard_output(machine: Machine) -> None:
    status, output, messages = machine.ensure()
    assert status == 0, messages
    (folder,) = machine.built()
    assert output == f"{folder}/bin\n"
    assert_complete(folder / "bin")
    assert f"building version {VERSION} from source" in messages
    assert "2 packages, about" in messages
    assert not machine.half_built()
    before = machine.calls("")

    status, output, messages = machine.ensure()
    assert (status, output) == (0, f"{folder}/bin\n")
    assert machine.calls("") == before
    assert "Compiling" not in messages


def test_the_name_in_the_cache_says_version_and_system(machine: Machine) -> None:
    machine.ensure()
    (folder,) = machine.built()
    assert folder.name.startswith(f"pulumi-{VERSION}-{sys.platform}-")


def test_an_installed_pulumi_is_used_and_named(machine: Machine) -> None:
    machine.executable("pulumi", INSTALLED)
    machine.executable("pulumi-language-python", INSTALLED)
    status, output, messages = machine.ensure()
    assert (status, output) == (0, f"{machine.bin}\n")
    assert "the installed Pulumi 3.300.1" in messages
    assert machine.calls("") == []


def test_a_language_host_beside_the_real_executable_counts(machine: Machine) -> None:
    home = machine.root / "opt"
    home.mkdir()
    machine.executable("pulumi", INSTALLED).rename(home / "pulumi")
    machine.executable("pulumi-language-python", INSTALLED).rename(home / "pulumi-language-python")
    (machine.bin / "pulumi").symlink_to(home / "pulumi")
    status, output, _ = machine.ensure()
    assert (status, output) == (0, f"{machine.bin}\n")


@pytest.mark.parametrize(
    ("pulumi", "reason"),
    [
        (INSTALLED, "it has no pulumi-language-python"),
        ("#!/bin/sh\nexit 1\n", "`pulumi version` says nothing"),
        ("#!/bin/sh\necho v2.25.2\n", "`pulumi version` says 2.25.2"),
    ],
    ids=["no language host", "broken", "too old"],
)
def test_an_installed_pulumi_that_will_not_do_is_named_and_replaced(
    machine: Machine, pulumi: str, reason: str
) -> None:
    machine.executable("pulumi", pulumi)
    if "language" not in reason:
        machine.executable("pulumi-language-python", INSTALLED)
    status, output, messages = machine.ensure()
    assert status == 0
    assert f"The pulumi in {machine.bin} is not used: {reason}" in messages
    assert output == f"{machine.built()[0]}/bin\n"


def test_a_link_to_our_own_build_does_not_count_as_installed(machine: Machine) -> None:
    machine.ensure()
    (folder,) = machine.built()
    for name in EXECUTABLES:
        (machine.bin / name).symlink_to(folder / "bin" / name)
    (folder / "bin" / "pulumi").write_text("#!/bin/sh\necho 3.0.0\n")
    status, output, messages = machine.ensure()
    assert (status, output) == (0, f"{folder}/bin\n")
    assert "pulumi is not what was built" in messages
    assert_complete(folder / "bin")


def test_no_go_and_no_pulumi_says_how_to_get_either(machine: Machine) -> None:
    (machine.bin / "go").unlink()
    status, output, messages = machine.ensure()
    assert (status, output) == (1, "")
    assert "There is no Pulumi CLI and no Go" in messages
    assert "install Go 1.26" in messages
    assert "or install Pulumi itself" in messages
    assert "Traceback" not in messages


@pytest.mark.parametrize("version", ["go1.19.8", "go1.25.4", "devel"])
def test_an_old_go_is_named_with_its_version(machine: Machine, version: str) -> None:
    machine.tell_go("version", f"{version}\n")
    status, _, messages = machine.ensure()
    assert status == 1
    assert "Go 1.26 or newer is needed" in messages
    assert version in messages
    assert str(machine.bin / "go") in messages
    assert machine.calls("build") == []


def test_a_go_that_may_not_fetch_a_newer_one_of_itself_is_quoted(machine: Machine) -> None:
    refusal = "go: go.mod requires go >= 1.26 (running go 1.24.1; GOTOOLCHAIN=local)"
    machine.tell_go("fail at env", refusal)
    status, _, messages = machine.ensure()
    assert status == 1
    assert refusal in messages
    assert "install Go 1.26" in messages


@pytest.mark.parametrize(
    ("step", "last_line", "advice"),
    [
        ("list", "dial tcp: lookup modules.invalid: no such host", "check the network"),
        ("list", "verifying module: checksum mismatch", "go clean -modcache"),
        ("build pulumi", "write /tmp/x: no space left on device", "free some disk space"),
        ("build pulumi", "compile: signal: killed", "close other programs"),
        ("build pulumi-language-python", "undefined: nonsense", "install Pulumi itself"),
        ("mod", "dial tcp: i/o timeout", "check the network"),
    ],
)
def test_a_failing_step_shows_its_last_lines_and_leaves_nothing(
    machine: Machine, step: str, last_line: str, advice: str
) -> None:
    machine.tell_go(f"fail at {step}", f"first of two\n{last_line}\n")
    status, output, messages = machine.ensure()
    assert (status, output) == (1, "")
    assert f"    {last_line}\n  To do: " in messages
    assert advice in messages
    assert machine.built() == []
    assert machine.half_built() == []


def test_a_build_that_says_another_version_is_thrown_away(machine: Machine) -> None:
    machine.tell_go("builds version", "3.1.0")
    status, _, messages = machine.ensure()
    assert status == 1
    assert f"says it is version 3.1.0, not {VERSION}" in messages
    assert machine.built() == []


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    (machine.root / "cache").write_text("a file where a folder should be")
    status, _, messages = machine.ensure()
    assert status == 1
    assert str(machine.cache) in messages
    assert "Traceback" not in messages


@pytest.mark.parametrize("step", ["list", "build pulumi-language-python", "build pulumi", "mod"])
def test_a_killed_build_is_never_taken_for_a_good_one(machine: Machine, step: str) -> None:
    machine.tell_go(f"stand still at {step}")
    process = machine.start("ensure")
    machine.wait_until_go_stands_still()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    machine.no_more_standing_still()
    assert machine.built() == []

    status, output, messages = machine.ensure()
    assert status == 0, messages
    (folder,) = machine.built()
    assert output == f"{folder}/bin\n"
    assert "interrupted build" in messages
    assert_complete(folder / "bin")
    assert machine.half_built() == []


def test_the_second_of_two_waits_says_so_and_does_not_build_again(machine: Machine) -> None:
    machine.tell_go("stand still at build pulumi")
    first = machine.start("ensure")
    machine.wait_until_go_stands_still()
    second = machine.start("ensure")
    assert second.stderr is not None
    assert second.stderr.readline().startswith("Another process is building the Pulumi CLI")
    assert machine.built() == []
    machine.let_go_on()
    outputs = {first.communicate()[0], second.communicate()[0]}
    assert (first.returncode, second.returncode) == (0, 0)
    assert outputs == {f"{machine.built()[0]}/bin\n"}
    assert len(machine.calls("build")) == 2  # the language host and the CLI, once each


def test_ctrl_c_ends_the_build_and_leaves_nothing(machine: Machine) -> None:
    machine.tell_go("stand still at build pulumi")
    process = machine.start("ensure")
    machine.wait_until_go_stands_still()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, messages = process.communicate()
    assert process.returncode == 130
    assert "Interrupted" in messages
    assert "Traceback" not in messages
    assert machine.built() == []
    assert machine.half_built() == []


def test_go_is_called_without_what_would_change_the_outcome(machine: Machine) -> None:
    script = (machine.bin / "go").read_text()
    machine.executable(
        "go",
        script.replace(
            "step=$1",
            'step=$1; env_log="$FAKE/env"\necho "$GOFLAGS|$GOOS|$GOWORK|$CGO_ENABLED" >>"$env_log"',
        ),
    )
    environment = machine.environment() | {"GOFLAGS": "-mod=vendor", "GOOS": "plan9"}
    subprocess.run(
        [sys.executable, "-m", "toolchain", "ensure"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert set((machine.root / "env").read_text().split()) == {"-mod=readonly||off|0"}


@pytest.mark.engine
def test_the_real_cli_and_its_language_host_answer(tmp_path: Path) -> None:
    ensured = subprocess.run(
        [sys.executable, "-m", "toolchain", "ensure"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(ensured.stdout.strip())
    environment = dict(os.environ) | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    about = subprocess.run(
        [folder / "pulumi", "about", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(about.stdout)["cliAbout"]["version"].removeprefix("v").startswith("3.")
    host = subprocess.run(
        [folder / "pulumi-language-python", "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-use-executor" in host.stderr or "-root" in host.stderr
