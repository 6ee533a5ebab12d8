"""The check of a booted AMI, on a scratch disk: a good one passes, what is planted is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.ami_provider.scratch import STEPS, Scratch

URI = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor@sha256:{'a' * 64}"
TAG = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor:latest"
BAKED_AT = 1_600_000_000  # Long before this machine's first process started.
DOCKER = 'case "$*" in "image inspect"*) echo sha256:1d;; create*) echo c1;; esac'


@pytest.fixture
def machine(tmp_path: Path) -> Scratch:
    """A machine with a good AMI's disk: the manifest was written by its own step."""
    machine = Scratch(tmp_path / "machine")
    machine.fake("systemctl", "exit 1")
    machine.fake("docker", DOCKER)
    machine.give("images.tsv", f"{URI}\t{TAG}\n")
    machine.give("agent.config", "ECS_ENABLE_GPU_SUPPORT=true\n")
    machine.give("recipe.json", "{}")
    machine.give("parameters", "FINGERPRINT=f1\nEXPECT_GPU=no\n")
    known = hashlib.sha256(b"one").hexdigest()
    machine.give(
        "models.tsv",
        f"http\thttp://x/1\t/opt/m/one\t{known}\t-\t-\t-\ns3\thttp://x/2\t/opt/m/two\t-\t-\t-\tr\n",
    )
    machine.put("/opt/m/one", "one")
    machine.put("/opt/m/two", "two")
    machine.put("/var/lib/docker/overlay2/abc/diff/app", "a layer's file")
    machine.put("/home/ec2-user/.bashrc", "alias ll='ls -l'")
    machine.put("/etc/os-release", "ID=amzn")
    machine.run("36-agent-settings")
    machine.run("80-manifest")
    age(machine)
    return machine


def age(machine: Scratch) -> None:
    for path in machine.root.rglob("*"):
        if path.is_file():
            os.utime(path, (BAKED_AT, BAKED_AT))


def test_a_good_ami_passes(machine: Scratch) -> None:
    output = machine.run("verify")

    assert "not right" not in output
    assert machine.result("verify") == {"wrong": 0}


PLANTED = [
    ("/root/.docker/config.json", "{}", "secret"),
    ("/home/ec2-user/.aws/credentials", "[default]", "secret"),
    ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA", "secret"),
    ("/etc/ssh/ssh_host_ed25519_key", "a key", "secret"),
    ("/root/.bash_history", "cd the-past", "secret"),
    ("/root/.netrc", "machine x", "secret"),
    ("/var/lib/cloud/instances/i-1/user-data.txt", "#!/bin/bash", "secret"),
    ("/opt/tool/settings", "key = AKIAABCDEFGHIJKLMNOP", "secret"),
    ("/srv/x.env", f"AWS_SECRET_ACCESS_KEY={'a' * 40}", "secret"),
    ("/usr/local/etc/tls.pem", "-----BEGIN PRIVATE KEY-----", "secret"),
    ("/var/lib/app/token", f"ghp_{'a' * 36}", "secret"),
    ("/var/lib/ecs/data/agent.db", "an old arn", "agent-identity"),
    ("/etc/systemd/system/x.service", "ExecStart=/sbin/shutdown -h +60", "timer-baked-in"),
    ("/etc/cron.d/end", "0 * * * * root shutdown -h now", "timer-baked-in"),
]


@pytest.mark.parametrize(("path", "text", "kind"), PLANTED)
def test_what_is_planted_is_found(machine: Scratch, path: str, text: str, kind: str) -> None:
    machine.put(path, text)
    age(machine)

    output = machine.run("verify", check=False)

    assert f"not right ({kind})" in output
    assert path in output.replace(str(machine.root), "") or kind == "agent-identity"
    assert text not in output  # Where it is, not what it says.


def test_what_this_boot_made_is_not_the_builders(machine: Scratch) -> None:
    for path in ("/etc/ssh/ssh_host_ed25519_key", "/root/.ssh/authorized_keys"):
        machine.put(path, "made at this boot")

    machine.run("verify")


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("/opt/m/one", "eno", "model-checksum"),
        ("/opt/m/two", "owt", "model-checksum"),
        ("/opt/m/one", None, "model-missing"),
        ("/var/lib/docker/overlay2/abc/diff/app", "another", "image-broken"),
        ("/var/lib/docker/overlay2/abc/diff/app", None, "image-broken"),
        ("/etc/ecs/ecs.config", "ECS_ENABLE_GPU_SUPPORT=false", "agent-settings"),
        ("/etc/ecs/ecs.config", "ECS_ENABLE_GPU_SUPPORT=true\nECS_CLUSTER=mine", "agent-identity"),
        ("/etc/baked-ami/manifest.json", None, "manifest-missing"),
        ("/etc/baked-ami/models.sha256", "", "manifest-missing"),
    ],
)
def test_what_was_changed_is_refused(
    machine: Scratch, path: str, text: str | None, kind: str
) -> None:
    if text is None:
        (machine.root / path.lstrip("/")).unlink()
    else:
        machine.put(path, text)

    assert f"not right ({kind})" in machine.run("verify", check=False)


@pytest.mark.parametrize(
    ("docker", "kind"),
    [
        ('case "$1" in image) exit 1;; esac', "image-missing"),
        ('case "$1" in image) echo "sha256:$RANDOM";; esac', "image-missing"),
        ('case "$1" in image) echo 1;; create) echo no such layer; exit 1;; esac', "image-broken"),
        ('case "$1" in image) echo 1;; create) echo c;; export) exit 1;; esac', "image-broken"),
        ('case "$1" in image) echo 1;; start) echo OCI error; exit 1;; esac', "image-broken"),
        ('case "$1" in version) exit 1;; esac', "docker-down"),
    ],
)
def test_an_image_that_does_not_work_is_refused(machine: Scratch, docker: str, kind: str) -> None:
    machine.fake("docker", docker)
    machine.fake("sleep", "")

    assert f"not right ({kind})" in machine.run("verify", check=False)


OTHERS = """case "$*" in
"image ls"*) printf 'sha256:1d\\nsha256:ba\\n'; cat "$HOME/others";;
*GraphDriver*) echo /var/lib/docker/overlay2/abc/diff:/var/lib/docker/overlay2/abc/diff;;
*RepoTags*) case "${@: -1}" in
    sha256:1d) printf 'sha256:1d %s\\nsha256:1d -\\n' "$URI";;
    *) printf '%s of-the-base\\n%s -\\n' "${@: -1}" "${@: -1}";; esac;;
"image inspect"*) echo sha256:1d;;
create*) echo c1;;
esac"""


@pytest.fixture
def strict(machine: Scratch) -> Scratch:
    """It says what its base AMI had of its own: an image, a setting and a file among the models."""
    machine.fake("docker", OTHERS)
    machine.environment["URI"] = URI
    (machine.folder / "others").write_text("")
    machine.put("/etc/baked-ami/base/images", "sha256:ba -\nsha256:ba of-the-base\n")
    machine.put("/etc/baked-ami/base/files", "/opt/m/base\n")
    machine.put("/etc/baked-ami/base/ecs.config", "ECS_BASE=1\nECS_ENABLE_GPU_SUPPORT=no\n")
    machine.put("/etc/ecs/ecs.config", "ECS_BASE=1\nECS_ENABLE_GPU_SUPPORT=true\n")
    machine.put("/opt/m/base", "the base AMI's")
    return machine


def test_what_the_base_ami_has_itself_may_be_there(strict: Scratch) -> None:
    assert "not right" not in strict.run("verify")


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("/opt/m/below/former", "a model", "former-left"),
        ("/var/lib/docker/overlay2/old/diff/x", "a layer", "former-left"),
        ("/etc/ecs/ecs.config", "ECS_ENABLE_GPU_SUPPORT=true\n", "agent-settings"),
        ("/etc/ecs/ecs.config", "ECS_BASE=1\nECS_ENABLE_GPU_SUPPORT=true\nECS_X=1\n",
         "agent-settings"),
    ],
)  # fmt: skip
def test_what_an_earlier_recipe_left_is_refused(
    strict: Scratch, path: str, text: str, kind: str
) -> None:
    strict.put(path, text)

    assert f"not right ({kind})" in strict.run("verify", check=False)


def test_an_image_that_an_earlier_recipe_left_is_refused(strict: Scratch) -> None:
    (strict.folder / "others").write_text("sha256:01d\n")

    told = strict.run("verify", check=False)

    assert "not right (former-left): an image that the recipe does not name: sha256:01d" in told


def test_what_cannot_be_listed_is_refused(strict: Scratch) -> None:
    (strict.folder / "others").unlink()

    assert "not right (former-left): list_other_images failed" in strict.run("verify", check=False)


def test_everything_wrong_is_told_at_once(machine: Scratch) -> None:
    machine.put("/opt/m/one", "eno")
    machine.put("/root/.bash_history", "ls")
    age(machine)

    kind, message = machine.fail("verify")

    assert kind == "model-checksum"
    assert message.startswith("2 checks")


def test_every_pattern_is_one_that_the_tools_take() -> None:
    lines = (STEPS / "secret-patterns.txt").read_text().splitlines()
    patterns = [line.split("\t") for line in lines if not line.startswith("#")]

    assert all(len(fields) == 2 for fields in patterns)
    assert {kind for kind, _ in patterns} == {"path", "text", "log"}
    for kind, value in patterns:
        if kind != "path":
            tried = subprocess.run(
                ["grep", "-E", "-e", value], input="", capture_output=True, text=True, check=False
            )
            assert tried.returncode == 1, f"{value}: {tried.stderr}"  # 2: not a pattern.


SMOKE_DOCKER = f"""case "$1" in run) printf '%s\\n' "$@" >"$0.asked"; exit ${{SMOKE_EXIT:-0}};; esac
{DOCKER}"""


@pytest.mark.parametrize(
    ("exit_code", "told"),
    [(0, None), (3, "ended with exit code 3"), (124, "did not end within 300 seconds")],
)
def test_the_smoke_command_decides(machine: Scratch, exit_code: int, told: str | None) -> None:
    machine.fake("docker", SMOKE_DOCKER)
    machine.environment["SMOKE_EXIT"] = str(exit_code)
    machine.give("parameters", "FINGERPRINT=f1\nEXPECT_GPU=no\nSMOKE_COMMAND='test -s \"$HOME\"'\n")

    if told is None:
        machine.run("verify")
    else:
        kind, _ = machine.fail("verify")
        assert kind == "smoke-command"
        assert told in machine.run("verify", check=False)
    asked = (machine.bin / "docker.asked").read_text().splitlines()
    assert asked[-5:] == ["--entrypoint", "sh", URI, "-c", 'test -s "$HOME"']
    assert asked[asked.index("--volume") + 1] == "/opt/m:/opt/m:ro"
    assert "--gpus" not in asked


def test_the_smoke_command_sees_the_gpu_where_there_is_one(machine: Scratch) -> None:
    machine.fake("nvidia-smi", "echo 'Tesla T4, 570.1'")
    machine.fake("docker", f'case "$1" in info) echo "runc nvidia ";; esac\n{SMOKE_DOCKER}')
    machine.give("parameters", "FINGERPRINT=f1\nEXPECT_GPU=yes\n")
    machine.environment["SMOKE_COMMAND"] = "nvidia-smi -L"

    output = machine.run("verify")

    asked = (machine.bin / "docker.asked").read_text().splitlines()
    assert asked[asked.index("--gpus") + 1] == "all"
    assert asked[-2:] == ["-c", "nvidia-smi -L"]
    assert f"the smoke command succeeded in {URI}" in output
