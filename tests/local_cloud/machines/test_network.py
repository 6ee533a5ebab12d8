"""From a machine: AWS's names with trusted certificates, the metadata service, and no way out."""

from __future__ import annotations

import pytest

from local_cloud.machines.contract import MachineSpec
from tests.local_cloud.machines.room import MAKE_IMAGE, Room

pytestmark = pytest.mark.machines

SERVICE = "http://169.254.169.254/latest"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = f"token=$(curl -s -m 5 -X PUT -H '{TTL}: 60' {SERVICE}/api/token)"
GET = f'curl -s -m 5 -H "X-aws-ec2-metadata-token: $token" {SERVICE}'
CODE = "curl -s -m 5 -o /dev/null -w '%{http_code}\\n'"


def test_aws_names_lead_to_the_cloud_by_trusted_tls(room: Room, machine: MachineSpec) -> None:
    said = room.says(
        machine,
        "curl -sS https://123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/v2/; echo",
        "curl -sS -X POST https://bucket.s3.dualstack.us-east-1.amazonaws.com/key; echo",
        "curl -sS http://ssm.ap-northeast-2.amazonaws.com/",
    )
    assert said.splitlines() == [
        "GET https://123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/v2/"
        f" from {machine.private_ip}",
        f"POST https://bucket.s3.dualstack.us-east-1.amazonaws.com/key from {machine.private_ip}",
        f"GET http://ssm.ap-northeast-2.amazonaws.com/ from {machine.private_ip}",
    ]


def test_the_authority_is_not_on_the_disk(room: Room, machine: MachineSpec) -> None:
    said = room.says(
        machine,
        "bundle=etc/ssl/certs/ca-certificates.crt; mkdir /run/disk; mount --bind / /run/disk",
        "cmp -s /$bundle /run/disk/$bundle && echo same || echo other; umount /run/disk",
    )
    assert said == "other"


def test_no_way_out(room: Room, machine: MachineSpec) -> None:
    assert room.run(machine, "getent hosts example.com").exit_code == 2
    assert room.run(machine, "curl -s -m 3 http://192.0.2.1/").exit_code in (7, 28)
    routes = room.says(machine, "ip -brief address")
    assert machine.private_ip in routes


def test_names_of_machines(room: Room, machine: MachineSpec) -> None:
    assert room.says(machine, "getent hosts $(hostname)").split()[0] == machine.private_ip
    other = room.boot()
    room.says(other, "systemd-run --quiet python3 -m http.server 8000 --directory /usr/share")
    assert room.says(
        machine,
        f"{CODE} --retry 20 --retry-connrefused --retry-delay 1 http://{other.hostname}:8000/",
    ).endswith("200")
    room.end(other)


def test_metadata_wants_a_token(room: Room, machine: MachineSpec) -> None:
    said = room.says(
        machine,
        f"{CODE} {SERVICE}/meta-data/instance-id",
        f"{CODE} -H 'X-aws-ec2-metadata-token: made-up' {SERVICE}/meta-data/",
        f"{CODE} -X PUT {SERVICE}/api/token",
        f"{CODE} -X PUT -H '{TTL}: 99999' {SERVICE}/api/token",
        f"{CODE} -X PUT -H 'X-Forwarded-For: 1.2.3.4' -H '{TTL}: 60' {SERVICE}/api/token",
        TOKEN,
        f"{GET}/meta-data/instance-id; echo",
        f"{GET}/meta-data/; echo",
        f"{GET}/meta-data/nothing -o /dev/null -w '%{{http_code}}\\n'",
        f"{GET}/user-data -o /dev/null -w '%{{http_code}}\\n'",
    ).splitlines()
    assert said == [
        "401", "401", "400", "400", "403",
        machine.instance_id, "iam/", "instance-id", "placement/", "404", "404",
    ]  # fmt: skip


def test_a_token_is_good_on_its_machine_alone(room: Room, machine: MachineSpec) -> None:
    token = room.says(machine, TOKEN, "echo $token")
    other = room.boot()
    assert (
        room.says(other, f"token={token}", f"{GET}/meta-data/ -o /dev/null -w '%{{http_code}}'")
        == "401"
    )
    room.end(other)


@pytest.mark.parametrize(("hops", "reached"), [(1, "000"), (2, "200")])
def test_hop_limit(room: Room, machine: MachineSpec, hops: int, reached: str) -> None:
    room.hop_limit = hops
    put = f"{CODE} -X PUT -H '{TTL}: 60' {SERVICE}/api/token"
    try:
        said = room.run(machine, MAKE_IMAGE, put, f"in_container thin:1 {put}").stdout.decode()
    finally:
        room.hop_limit = 2
    assert said.split() == ["200", reached]


def test_version_one_where_tokens_are_optional(room: Room, machine: MachineSpec) -> None:
    room.tokens_required = False
    try:
        assert (
            room.says(machine, "curl -s http://169.254.169.254/2021-07-15/meta-data/instance-id")
            == machine.instance_id
        )
    finally:
        room.tokens_required = True
