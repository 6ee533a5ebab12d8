"""The steps on a scratch disk: what they write and tell, and that a second run changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from ami_provider.failures import BY_KIND, MARK, find_failure
from tests.ami_provider.model_server import SECRET, serve
from tests.ami_provider.scratch import STEPS, Scratch

URI = f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor@sha256:{'a' * 64}"
TAG = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor:latest"
ASKS_FOR_LOGIN = (
    "pull access denied for x, repository does not exist or may require 'docker login': denied: "
)
NO_SYSTEMD = "exit 1"


@pytest.fixture
def machine(tmp_path: Path) -> Scratch:
    machine = Scratch(tmp_path / "machine")
    machine.fake("systemctl", NO_SYSTEMD)
    machine.give("images.tsv", f"{URI}\t{TAG}\n")
    machine.give("models.tsv", "")
    machine.give("agent.config", "")
    machine.give("recipe.json", '{"images": []}')
    machine.give("parameters", "FINGERPRINT=f1\nEXPECT_GPU=no\n")
    return machine


def test_agent_settings_are_merged_and_stay(machine: Scratch) -> None:
    machine.put("/etc/ecs/ecs.config", "ECS_LOGLEVEL=info\nECS_ENABLE_GPU_SUPPORT=false")
    machine.give("agent.config", "ECS_ENABLE_GPU_SUPPORT=true\nECS_X=a b=c\n")

    machine.run("36-agent-settings")
    before = machine.snapshot()
    machine.run("36-agent-settings")

    assert machine.snapshot() == before
    assert (machine.root / "etc/ecs/ecs.config").read_text() == (
        "ECS_LOGLEVEL=info\nECS_ENABLE_GPU_SUPPORT=true\nECS_X=a b=c\n"
    )


def test_what_an_earlier_recipe_left_goes_once(machine: Scratch) -> None:
    """Models, the folders made for them, settings, records; not what stays or is the base AMI's."""
    folder = "/etc/baked-ami"
    machine.give("parameters", "START=ami-1\n")
    machine.give("models.tsv", "http\thttp://x/1\t/opt/m/one\t-\t-\t-\t-\n")
    machine.environment["BAKED_AMI_IMDS"] = "http://127.0.0.1:9"
    machine.put(f"{folder}/base/images", "")
    machine.put(f"{folder}/base/files", "/opt/m/base\n")
    machine.put(f"{folder}/base/ecs.config", "ECS_BASE=1\n")
    machine.put(
        f"{folder}/models.tsv", "1a\t3\t/opt/m/one\tknown\n2b\t3\t/opt/m/old/deep/two\tgone\n"
    )
    machine.put(f"{folder}/folders", "/opt/m\n/opt/m/old\n/opt/m/old/deep\n")
    for name in ("manifest.json", "models.sha256", "layers.sha256"):
        machine.put(f"{folder}/{name}", "of the earlier recipe")
    for path in ("/opt/m/one", "/opt/m/base", "/opt/m/old/deep/two"):
        machine.put(path, "one")
    machine.put("/etc/ecs/ecs.config", "ECS_BASE=2\nECS_FORMER=1\n")
    machine.put("/etc/machine-id", "mine\n")
    machine.put("/var/log/journal/theirs/system.journal", "x")
    machine.put("/var/log/journal/mine/system.journal", "x")

    machine.run("35-remove-former")
    left = machine.snapshot()
    machine.put("/etc/baked-ami/manifest.json", "of this recipe")
    machine.run("35-remove-former")

    assert left.keys() == {
        "etc/baked-ami/base/ecs.config", "etc/baked-ami/base/files", "etc/baked-ami/base/images",
        "etc/ecs/ecs.config", "etc/machine-id", "opt/m/base", "opt/m/one",
        "var/log/journal/mine/system.journal",
    }  # fmt: skip
    assert (machine.root / "etc/ecs/ecs.config").read_text() == "ECS_BASE=1\n"
    assert (machine.root / "etc/baked-ami/manifest.json").exists()
    assert not (machine.root / "opt/m/old").exists()
    assert (machine.state / "models" / "0").read_text() == "1a\t3\t/opt/m/one\tknown\n"
    assert (machine.state / "folders.made").read_text() == "/opt/m\n"


def test_an_ami_that_does_not_say_what_its_base_had_is_not_built_on(machine: Scratch) -> None:
    machine.give("parameters", "START=ami-1\n")

    assert machine.fail("35-remove-former")[0] == "former-left"


def test_the_agent_is_kept_off_and_its_identity_is_gone(machine: Scratch) -> None:
    machine.put("/var/lib/ecs/data/agent.db", "an identity")
    machine.fake("systemctl", 'echo "$*" >>"$HOME/calls"; [[ "$1" != is-active ]]')

    machine.run("10-quiet-agent")

    assert machine.snapshot() == {}
    calls = (machine.folder / "calls").read_text()
    assert "mask --runtime ecs.service" in calls
    assert "stop ecs.service" in calls


def test_an_agent_that_does_not_stop_is_a_failure(machine: Scratch) -> None:
    machine.fake("systemctl", "exit 0")

    assert machine.fail("10-quiet-agent")[0] == "agent-running"


def test_the_update_holds_packages_back(machine: Scratch) -> None:
    machine.give("parameters", "HELD_PACKAGES='kernel* nvidia*'\nSYSTEM_UPDATE=yes\n")
    machine.fake("dnf", 'printf "%s\\n" "$@" >>"$HOME/calls"')

    machine.run("20-system-update")

    called = (machine.folder / "calls").read_text().split()
    assert called[:3] == ["-y", "--exclude=kernel*", "--exclude=nvidia*"]
    assert called[-1] == "update"


def test_an_update_that_is_off_calls_nothing(machine: Scratch) -> None:
    machine.give("parameters", "SYSTEM_UPDATE=no\n")
    machine.fake("dnf", 'echo >"$HOME/calls"')

    machine.run("20-system-update")

    assert not (machine.folder / "calls").exists()


@pytest.mark.parametrize(
    ("said", "kind", "attempts"),
    [
        ("Error: Failed to download metadata for repo 'amazonlinux': Cannot prepare internal "
         "mirrorlist: Curl error (7): Couldn't connect to server", "package-mirror", 3),
        ("Cannot find a valid baseurl for repo: amzn2-core/2/x86_64", "package-mirror", 3),
        ("Error: Error downloading packages:\\n  Status code: 503 for https://x",
         "package-mirror", 3),
        ("Error: Transaction test error:\\n  At least 120MB more space needed on the / filesystem.",
         "disk-full", 1),
        ("[Errno 28] No space left on device: '/var/cache/dnf/x.rpm'", "disk-full", 1),
        (" Problem: package nvidia-x requires kernel = 6.2\\n  - package kernel-6.2 is filtered "
         "out by exclude filtering", "package-conflict", 1),
        ("Error: Package: nvidia-x (amzn2)\\n  Requires: kernel = 6.2", "package-conflict", 1),
        ("Error: GPG check FAILED", "package-signature", 1),
        ("error: %prein(x) scriptlet failed, exit status 1", "system-update", 1),
        ("Another app is currently holding the yum lock; waiting for it to exit...",
         "package-lock", 3),
        ("Killed", "system-update", 3),
    ],
)  # fmt: skip
def test_a_failed_update_is_told_as_what_it_is(
    machine: Scratch, said: str, kind: str, attempts: int
) -> None:
    machine.fake(
        "dnf", f'echo >>"$HOME/asked"; printf "{said}\\n" >&2; exit 1'.replace("%p", "%%p")
    )
    machine.fake("sleep", "")

    told, message = machine.fail("20-system-update")

    assert told == kind
    assert len((machine.folder / "asked").read_text().splitlines()) == attempts
    assert said == "Killed" or said.split()[-1] in message


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("write /x: no space left on device", "disk-full"),
        ("manifest unknown: Requested image not found", "digest-gone"),
        ("denied: Your authorization token has expired. Reauthenticate", "token-expired"),
        (
            f"{ASKS_FOR_LOGIN}Your authorization token has expired. Reauthenticate and try again.",
            "token-expired",
        ),
        (
            f"{ASKS_FOR_LOGIN}User: r is not authorized to perform: ecr:BatchGetImage",
            "ecr-denied",
        ),
        ("no basic auth credentials", "ecr-denied"),
        ("dial tcp: lookup x: no such host", "registry-unreachable"),
        ("net/http: TLS handshake timeout", "registry-unreachable"),
        ("Cannot connect to the Docker daemon at unix:///x", "docker-down"),
        ("something new", "pull"),
    ],
)
def test_a_failed_pull_is_recognised(machine: Scratch, message: str, kind: str) -> None:
    machine.fake(
        "docker",
        f'case "$1" in pull) echo {json.dumps(message)} >&2; exit 1;; image) exit 1;; esac',
    )
    machine.fake("sleep", "")

    told, text = machine.fail("40-pull-images")

    assert told == kind
    if kind != "docker-down":
        assert URI in text
    if kind != "disk-full":
        assert text.endswith(message)


def test_a_token_that_is_called_denied_and_expired_is_asked_for_anew(machine: Scratch) -> None:
    said = "denied: Your authorization token has expired. Reauthenticate and try again."
    machine.fake(
        "docker",
        f'''case "$*" in
"image inspect --format"*) echo 42 ;;
"image inspect"*) exit 1 ;;
pull*)
    echo pull >>"$HOME/asked"
    [[ $(grep -c pull "$HOME/asked") -gt 2 ]] || {{ echo "{said}"; exit 1; }} ;;
esac''',
    )
    machine.fake("sleep", "")

    output = machine.run("40-pull-images")

    assert (machine.folder / "asked").read_text().split() == ["pull"] * 3
    assert output.count("no image of this recipe needs a login") == 2  # The login step ran again.


def test_images_are_pulled_by_digest_and_tagged(machine: Scratch) -> None:
    machine.fake(
        "docker",
        'echo "$*" >>"$HOME/calls"; '
        'case "$*" in *--format*) echo 42;; "image inspect"*) exit 1;; esac',
    )

    machine.run("40-pull-images")

    calls = (machine.folder / "calls").read_text()
    assert f"pull --quiet {URI}" in calls
    assert f"tag {URI} {TAG}" in calls
    assert machine.result("40-pull-images") == {"image_bytes": {URI: 42}}


def test_the_registry_password_is_never_on_disk_or_in_the_output(machine: Scratch) -> None:
    token = base64.b64encode(b"AWS:the-password").decode()
    machine.give(
        "parameters",
        "ECR_LOGINS='123456789012.dkr.ecr.r-1.amazonaws.com api.ecr.r-1.amazonaws.com r-1'\n",
    )
    machine.fake("docker", 'echo "$*" >"$HOME/arguments"; cat >"$HOME/password"')
    with serve() as server:
        machine.environment["BAKED_AMI_IMDS"] = server.url
        answer = json.dumps({"authorizationData": [{"authorizationToken": token}]})
        curl = subprocess.run(["which", "curl"], capture_output=True, text=True).stdout.strip()
        machine.fake(
            "curl",
            f'for last; do :; done; case "$last" in https://api.ecr*) cat >/dev/null; '
            f"printf '%s\\n200' '{answer}';; *) exec {curl} \"$@\";; esac",
        )
        output = machine.run("30-registry-login")

    assert (machine.folder / "password").read_text() == "the-password\n"
    arguments = (machine.folder / "arguments").read_text()
    for secret in ("the-password", SECRET, token):
        assert secret not in output + arguments
    assert machine.snapshot() == {}


def test_a_gpu_that_is_expected_must_answer(machine: Scratch) -> None:
    machine.run("70-gpu-check")
    assert machine.result("70-gpu-check") == {"gpu": "none"}

    machine.give("parameters", "EXPECT_GPU=yes\n")
    machine.fake("sleep", "")
    machine.fake("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert machine.fail("70-gpu-check") == ("driver-broken", "nvidia-smi: NVIDIA-SMI has failed")

    machine.fake("nvidia-smi", "echo 'No devices were found'; exit 6")
    assert machine.fail("70-gpu-check")[0] == "gpu-missing"

    machine.fake("nvidia-smi", "echo 'Tesla T4, 570.1'")
    machine.fake("docker", 'case "$1" in info) echo "runc nvidia ";; run) exit 125;; esac')
    assert machine.fail("70-gpu-check")[0] == "runtime-blind"

    machine.fake("docker", 'case "$1" in info) echo "runc nvidia ";; esac')
    machine.run("70-gpu-check")
    assert machine.result("70-gpu-check") == {"gpu": "Tesla T4, 570.1"}


def test_the_manifest_tells_what_is_there_and_stays(machine: Scratch) -> None:
    sha256 = hashlib.sha256(b"a model").hexdigest()
    machine.put("/opt/m", "a model")
    machine.put("/var/lib/docker/overlay2/abc/diff/bin/app", "a file of a layer")
    machine.give("models.tsv", "http\thttp://x/m\t/opt/m\t-\t-\t-\t-\n")
    machine.fake(
        "docker", 'case "$*" in "image inspect"*) echo sha256:1d;; version*) echo 1;; esac'
    )

    machine.run("80-manifest")
    before = machine.snapshot()
    machine.run("80-manifest")

    assert machine.snapshot() == before
    manifest = json.loads((machine.root / "etc/baked-ami/manifest.json").read_text())
    assert manifest["fingerprint"] == "f1"
    assert manifest["models"] == {"/opt/m": sha256}
    assert manifest["images"] == [{"uri": URI, "tag": TAG, "id": "sha256:1d"}]
    assert manifest["packages"]
    assert (machine.root / "etc/baked-ami/models.sha256").read_text() == f"{sha256}  /opt/m\n"


def test_the_layers_digest_sees_every_byte_and_no_container(machine: Scratch) -> None:
    layer = "/var/lib/docker/overlay2/abc/diff"
    machine.put(f"{layer}/a", "1")
    machine.put(f"{layer}/b", "2")
    machine.fake("docker", 'case "$*" in "image inspect"*) echo sha256:1d;; esac')

    def digest() -> str:
        machine.run("80-manifest")
        return (machine.root / "etc/baked-ami/layers.sha256").read_text()

    first = digest()
    machine.put("/var/lib/docker/overlay2/run/diff/tmp", "a container's own")
    machine.put("/var/lib/docker/overlay2/run-init/diff/tmp", "a container's own")
    assert digest() == first
    machine.put(f"{layer}/b", "3")
    assert digest() != first
    machine.put(f"{layer}/b", "2")
    assert digest() == first
    (machine.root / f"{layer}/a".lstrip("/")).unlink()
    assert digest() != first


def test_cleanup_leaves_nothing_of_the_builder(machine: Scratch) -> None:
    leftovers = [
        "/root/.docker/config.json", "/home/ec2-user/.docker/config.json", "/root/.aws/credentials",
        "/root/.ssh/authorized_keys", "/home/ec2-user/.ssh/authorized_keys", "/root/.bash_history",
        "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key.pub", "/var/lib/ecs/data/agent.db",
        "/var/lib/cloud/instances/i-1/user-data.txt", "/tmp/x", "/var/tmp/y", "/root/.cache/pip/z",
        "/var/cache/dnf/a.solv", "/var/log/messages-20260101", "/opt/m/.a.baked-ami-part",
        "/var/lib/amazon/ssm/i-1/document/orchestration/c-1/awsrunShellScript/0/_script.sh",
        "/var/lib/amazon/ssm/i-1/document/state/completed/c-1",
    ]  # fmt: skip
    for path in leftovers:
        machine.put(path, "leftover")
    kept = {
        "/etc/machine-id": "",
        "/var/log/messages": "",
        "/opt/m/a": "a model",
        "/etc/ssh/sshd_config": "kept",
        "/var/lib/amazon/ssm/i-1/document/orchestration/now/0/_script.sh": "kept",
        "/var/lib/amazon/ssm/i-1/document/state/current/now": "kept",
        "/var/lib/docker/overlay2/abc/diff/root/.bash_history": "an image's own",
    }
    for path in kept:
        machine.put(path, kept[path] or "an identity")
    running = "var/lib/amazon/ssm/i-1/document/orchestration/now/0/_script.sh"
    machine.environment["BAKED_AMI_COMMAND"] = str(machine.root / running)

    machine.run("90-cleanup")
    after = {f"/{path}": text for path, (text, _) in machine.snapshot().items()}
    machine.run("90-cleanup")

    assert after == kept
    assert {f"/{path}": text for path, (text, _) in machine.snapshot().items()} == kept


def test_every_kind_a_step_gives_is_in_the_table() -> None:
    text = "".join(path.read_text() for path in STEPS.glob("*.sh"))
    given = {
        word
        for line in text.splitlines()
        for call in ("fail ", "refuse ")
        for word in line.split(call)[1:]
        for word in word.split()[:1]
        if word.replace("-", "").isalpha() and line.split(call)[0].strip("\t ;&|){") == ""
    }

    assert len(given) > 10
    assert given <= BY_KIND.keys()


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("x\nbaked-ami-failure: model-denied: /opt/m: it answers 403\n", "model-denied"),
        ("tar: write error: No space left on device", "disk-full"),
        ("Error: Failed to download metadata for repo 'amazonlinux'", "package-mirror"),
        ("Failed to initialize NVML: Driver/library version mismatch", "driver-broken"),
        ("curl: (6) Could not resolve host: models.test", "model-unreachable"),
        ("baked-ami-timeout: 40-pull-images did not end within 60 seconds", "timeout"),
    ],
)
def test_logs_are_recognised(log: str, kind: str) -> None:
    found = find_failure(log)

    assert found is not None
    assert found.failure.kind == kind
    assert found.evidence in MARK.sub(r"\2", log)
    assert found.failure.remedy


def test_an_unknown_log_is_not_explained_away() -> None:
    assert find_failure("something went wrong") is None


def test_a_step_runs_once_for_a_key_and_again_after_a_failure(machine: Scratch) -> None:
    steps = machine.state / "steps"
    steps.mkdir()
    script = steps / "60-01-mine.sh"
    script.write_text('echo run >>"$HOME/runs"; echo "a word"; exit "$(cat "$HOME/status")"')
    status = machine.folder / "status"

    def run(key: str, token: str) -> tuple[int, int]:
        done = subprocess.run(
            ["bash", str(STEPS / "run.sh"), "60-01-mine", key, token, "30"],
            capture_output=True, text=True,
            env={"PATH": f"{machine.bin}:/usr/bin:/bin", "HOME": str(machine.folder),
                 "BAKED_AMI_STATE": str(machine.state)},
        )  # fmt: skip
        runs = len((machine.folder / "runs").read_text().splitlines())
        assert ("a word" in done.stdout) == (done.returncode != 0), done.stderr
        return runs, done.returncode

    machine.fake("systemd-run", "exit 1")
    status.write_text("3")
    assert run("k1", "t1") == (1, 3)
    assert run("k1", "t1") == (1, 3)  # Only the answer was lost.
    status.write_text("0")
    assert run("k1", "t2") == (2, 0)
    assert run("k1", "t3") == (2, 0)  # It ended well: not again.
    assert run("k2", "t4") == (3, 0)  # Other parameters.


def test_a_step_that_hangs_is_ended(machine: Scratch) -> None:
    steps = machine.state / "steps"
    steps.mkdir()
    (steps / "hang.sh").write_text("echo waiting for nobody; exec sleep 300")
    machine.fake("systemd-run", "exit 1")

    output = machine.run("run", "hang", "key", "token", "1", check=False)
    log = (machine.state / "log" / "hang.log").read_text()

    assert "waiting for nobody" in output
    found = find_failure(log)
    assert found is not None
    assert found.failure.kind == "timeout"
    assert "within 1 seconds" in found.evidence


def test_every_step_passes_shellcheck() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", *map(str, sorted(STEPS.glob("*.sh")))],
        capture_output=True,
        text=True,
        cwd=STEPS,
    )
    assert done.returncode == 0, done.stdout
