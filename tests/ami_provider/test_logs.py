"""Logs of steps: whole where the error says, and nothing that looks like a secret in any of it."""

from __future__ import annotations

import base64
import gzip
import re
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ami_provider.errors import BakeError
from ami_provider.redaction import redact
from local_cloud.machines.contract import Outcome, Script
from local_cloud.machines.recorded import RecordedMachines
from tests.ami_provider.clouds import EMPTY, Bakery, open_bakery
from tests.ami_provider.model_server import SECRET, TOKEN, serve
from tests.ami_provider.scratch import STEPS, Scratch

KEY_BODY = "MIIEowIBAAKCAQEAabcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = {
    "https://b.s3.amazonaws.com/m?X-Amz-Credential=AKIAABCDEFGHIJKLMNOP%2F20261124&X-Amz-Signature="
    "abcdef0123456789": ["AKIAABCDEFGHIJKLMNOP", "abcdef0123456789"],
    "> Authorization: Basic QVdTOmFiY2RlZg==": ["QVdTOmFiY2RlZg=="],
    '{"auths": {"r": {"auth": "QVdTOmV5SndZWGxzYjJGa0lqb2k="}}}': ["QVdTOmV5SndZWGxzYjJGa0lqb2k="],
    '{"authorizationData":[{"authorizationToken": "QVdTOmV5Sn"}]}': ["QVdTOmV5Sn"],
    "AWS_SECRET_ACCESS_KEY=abcdefghij0123456789abcdefghij0123456789": ["abcdefghij0123456789"],
    '"SecretAccessKey" : "abcdefghij0123456789abcdefghij0123456789"': ["abcdefghij0123456789"],
    '"Token" : "IQoJb3JpZ2luX2VjE"': ["IQoJb3JpZ2luX2VjE"],
    f"+ export HF_TOKEN=hf_{'abcDEF' * 5}abcd": ["hf_abcDEF"],
    "docker login --password hunter22 host": ["hunter22"],
    "git clone https://user:pa55w0rd@host/x": ["pa55w0rd"],
    "the password is eyJwYXlsb2FkIjoiabcdefghijklmnop==": ["eyJwYXls"],
    "x-amz-security-token: IQoJb3JpZ2luX2VjE": ["IQoJb3JpZ2luX2VjE"],
    "key = ASIAABCDEFGHIJKLMNOP!": ["ASIAABCDEFGHIJKLMNOP"],
    f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\nQUJD\n-----END RSA PRIVATE KEY-----":
    [KEY_BODY, "QUJD"],
}  # fmt: skip
HARMLESS = [
    "denied: Your authorization token has expired. Reauthenticate and try again.",
    "X-aws-ec2-metadata-token-ttl-seconds: 300",
    "https://host:443/path?versionId=abc and s3://bucket/key",
    "curl: (22) The requested URL returned error: 403",
    f"SHA-256 is {'a1' * 32}",
    "Authorization failed.",
]


def redact_on_the_machine(text: str) -> str:
    done = subprocess.run(
        ["bash", str(STEPS / "redact.sh")], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(("text", "hidden"), SECRETS.items())
def test_secrets_are_taken_out_here_and_on_the_machine_alike(text: str, hidden: list[str]) -> None:
    told = redact(f"before\n{text}\nafter\n")

    assert told == redact_on_the_machine(f"before\n{text}\nafter\n")
    assert told == redact(told)
    assert not [word for word in hidden if word in told]
    assert told.startswith("before\n")
    assert told.endswith("\nafter\n")
    assert "[redacted]" in told


def test_what_is_no_secret_stays() -> None:
    text = "\n".join(HARMLESS) + "\n"

    assert redact(text) == redact_on_the_machine(text) == text


@pytest.fixture
def bakery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    with open_bakery(monkeypatch, real=False) as bakery:
        yield bakery


LOGS = (
    "baked-ami-log-of: 20-system-update.log\nupdated\n\n"
    "baked-ami-log-of: 40-pull-images.log\n"
    + "".join(f"line {n}\n" for n in range(4000))
    + "AWS_SECRET_ACCESS_KEY=abcdefghij0123456789abcdefghij0123456789\n"
    + "baked-ami-failure: digest-gone: app@sha256:1d: manifest unknown\n\n"
)


def fail_the_pull(bakery: Bakery, *, told: str = "") -> None:
    def outcome(_machine: str, script: Script) -> Outcome:
        now, text = datetime.now(UTC), "\n".join(script.lines)
        fails = "run.sh 40-pull-images" in text
        output = told.encode() if fails else b""
        if "baked-ami-log-of" in text:
            packed = base64.b64encode(gzip.compress(LOGS.encode(), mtime=0))
            start = int(re.findall(r"tail -c \+(\d+) /run", text)[0])
            output = packed[start - 1 : start - 1 + 20_000]
        return Outcome(status="Failed" if fails else "Success", exit_code=70 if fails else 0,
                       stdout=output, stderr=b"", started=now, ended=now)  # fmt: skip

    assert isinstance(bakery.cloud.machines, RecordedMachines)
    bakery.cloud.machines.answer = outcome


def test_every_log_is_in_a_file_of_ones_own_that_the_error_names(bakery: Bakery) -> None:
    fail_the_pull(bakery)

    with pytest.raises(BakeError, match="the image's digest is not in the repository") as raised:
        bakery.bake()

    found = re.search(r"The whole log of every step: (\S+\.log)", raised.value.details)
    assert found
    file = Path(found[1])
    text, mode = file.read_text(), stat.S_IMODE(file.stat().st_mode)
    file.unlink()
    assert mode == 0o600
    assert "==> 20-system-update\nupdated\n" in text
    assert text.count("\nline ") == 4000
    assert "line 3999" in raised.value.details
    assert "line 3900" not in raised.value.details
    for told in (text, str(raised.value)):
        assert "AWS_SECRET_ACCESS_KEY=[redacted]" in told
        assert "abcdefghij0123456789" not in told
    assert bakery.count() == EMPTY


def test_a_log_in_s3_is_named_and_no_file_is_made(bakery: Bakery) -> None:
    fail_the_pull(bakery, told="the end\nbaked-ami-log: s3://logs/x/40-pull-images.log\n")

    with pytest.raises(BakeError) as raised:
        bakery.bake(site=bakery.site(logs="s3://logs/x/"))

    assert "The whole log: s3://logs/x/40-pull-images.log" in raised.value.details
    assert "of every step" not in raised.value.details


def test_logs_that_s3_does_not_take_are_told_once(bakery: Bakery) -> None:
    fail_the_pull(bakery, told="baked-ami-log: not kept: s3://logs answers 403 AccessDenied\n")

    with pytest.raises(BakeError, match="of every step: ") as raised:
        bakery.bake(site=bakery.site(logs="s3://logs/x/"))

    Path(raised.value.details.rpartition(" ")[2]).unlink()
    told = [line for line in bakery.said if "not kept in S3" in line]
    assert told == ["the logs are not kept in S3: s3://logs answers 403 AccessDenied"]


def test_debug_mode_shows_all_of_it(bakery: Bakery) -> None:
    fail_the_pull(bakery)

    with pytest.raises(BakeError) as raised:
        bakery.bake(site=bakery.site(debug=True))

    Path(raised.value.details.rpartition(" ")[2]).unlink()
    (shown,) = [line for line in bakery.said if line.startswith("40-pull-images:\n")]
    assert shown.count("\nline ") == 4000
    assert "abcdefghij0123456789" not in shown
    assert "20-system-update:\nupdated" in bakery.said


def keep_log(machine: Scratch) -> str:
    (machine.state / "log").mkdir()
    (machine.state / "log" / "40-pull-images.log").write_text("pulled\nHF_TOKEN=abcdefgh\n")
    machine.environment |= {"LOG_DESTINATION": "s3://logs/team/", "LOG_REGION": "eu-west-1",
                            "LOG_FOLDER": "ami/i-1"}  # fmt: skip
    return machine.run("keep-log", "40-pull-images").strip()


def fake_s3(machine: Scratch, answers: str) -> None:
    """A curl that keeps what it was to send, and answers for S3; the metadata service is served."""
    curl = subprocess.run(["which", "curl"], capture_output=True, text=True).stdout.strip()
    machine.fake(
        "curl",
        f"""for last; do :; done
case "$last" in *amazonaws.com*) ;; *) exec {curl} "$@" ;; esac
cat >/dev/null
while [[ $# -gt 0 ]]; do
    case "$1" in --upload-file) cp "$2" "$HOME/sent" ;; --dump-header) headers="$2" ;; esac
    shift
done
echo "$last" >>"$HOME/asked"
{answers}""",
    )


def test_the_log_goes_to_the_buckets_own_region_without_secrets(tmp_path: Path) -> None:
    machine = Scratch(tmp_path / "machine")
    fake_s3(
        machine,
        'case "$last" in *us-east-2*) printf "\\n200" ;; '
        '*) echo "x-amz-bucket-region: us-east-2" >"$headers"; printf "\\n301" ;; esac',
    )
    with serve() as server:
        machine.environment["BAKED_AMI_IMDS"] = server.url
        told = keep_log(machine)

    assert told == "baked-ami-log: s3://logs/team/ami/i-1/40-pull-images.log"
    key = "team/ami/i-1/40-pull-images.log"
    assert (machine.folder / "asked").read_text().splitlines() == [
        f"https://logs.s3.eu-west-1.amazonaws.com/{key}",
        f"https://logs.s3.us-east-2.amazonaws.com/{key}",
    ]
    assert (machine.folder / "sent").read_text() == "pulled\nHF_TOKEN=[redacted]\n"
    left = "".join(p.read_text() for p in machine.state.rglob("*") if p.is_file())
    assert SECRET not in left
    assert TOKEN not in left


def test_a_bucket_that_refuses_the_log_stops_nothing(tmp_path: Path) -> None:
    machine = Scratch(tmp_path / "machine")
    fake_s3(machine, 'printf "<Code>AccessDenied</Code>\\n403"')
    with serve() as server:
        machine.environment["BAKED_AMI_IMDS"] = server.url
        told = keep_log(machine)

    assert told == "baked-ami-log: not kept: s3://logs answers 403 AccessDenied"
