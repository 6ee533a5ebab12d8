"""A machine's own Docker engine against the registry, under ECR's real names, over TLS."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from local_cloud.model_server import HOST as MODELS_HOST
from local_cloud.seed import BUCKET, REPOSITORY, seed
from tests.waiting import until

from .conftest import SCOPE, client, token

pytestmark = pytest.mark.machines

ROLE = "puller"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
AMI = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"


class Machine:
    """A running machine that takes commands as SSM gives them."""

    def __init__(self, cloud: Cloud) -> None:
        iam, ec2, self._ssm = (client(cloud, name) for name in ("iam", "ec2", "ssm"))
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.create_instance_profile(InstanceProfileName=ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
        launched = ec2.run_instances(
            ImageId=self._ssm.get_parameter(Name=AMI)["Parameter"]["Value"],
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": ROLE},
            SubnetId="subnet-0a10ca10000000001",
        )
        self.id = launched["Instances"][0]["InstanceId"]
        until(self._is_online)

    def run(self, script: str) -> tuple[int, str]:
        """Exit status, and both outputs together."""
        sent = self._ssm.send_command(
            InstanceIds=[self.id],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": [f"exec 2>&1\n{script}"]},
        )["Command"]["CommandId"]

        def ended() -> dict[str, Any] | None:
            got: dict[str, Any] = self._ssm.get_command_invocation(
                CommandId=sent, InstanceId=self.id
            )
            return None if got["Status"] in ("Pending", "InProgress", "Delayed") else got

        got = until(ended)
        return got["ResponseCode"], got["StandardOutputContent"]

    def _is_online(self) -> bool:
        named = [{"Key": "InstanceIds", "Values": [self.id]}]
        found = self._ssm.describe_instance_information(Filters=named)
        return bool(found["InstanceInformationList"])


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """In place of the recorded one: machines run."""
    with Cloud(real=True, say=lambda text: None) as one:
        assert one.real, "these tests need machines that run: root on Linux"
        seed(one)
        yield one


@pytest.fixture(scope="module")
def machine(cloud: Cloud) -> Machine:
    return Machine(cloud)


@pytest.fixture(scope="module")
def image(ecr: Any) -> str:
    [detail] = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    return f"{SCOPE.host}/{REPOSITORY}@{detail['imageDigest']}"


def log_in(password: str, folder: str) -> str:
    return (
        f"export DOCKER_CONFIG={folder}\n"
        f"echo {shlex.quote(password)} | docker login -u AWS --password-stdin {SCOPE.host}\n"
    )


def password_of(authorization_token: str) -> str:
    return base64.b64decode(authorization_token).decode().removeprefix("AWS:")


def test_nothing_is_pulled_without_a_login(machine: Machine, image: str) -> None:
    status, said = machine.run(f"DOCKER_CONFIG=/run/none docker pull {image}")
    assert status == 1
    assert "no basic auth credentials" in said


def test_a_wrong_password_is_no_login(machine: Machine) -> None:
    status, said = machine.run(log_in("nonsense", "/run/wrong"))
    assert status == 1
    assert "failed with status: 400 Bad Request" in said


def test_an_expired_token_pulls_nothing(cloud: Cloud, machine: Machine, image: str) -> None:
    short, _ = cloud.registry.create_token(SCOPE)
    now = cloud.registry.clock
    status, _ = machine.run(log_in(short, "/run/old"))
    assert status == 0
    try:
        cloud.registry.clock = lambda: now() + timedelta(hours=13)
        status, said = machine.run(f"DOCKER_CONFIG=/run/old docker pull {image}")
    finally:
        cloud.registry.clock = now
    assert status == 1
    assert "Your authorization token has expired. Reauthenticate and try again." in said


def test_a_pull_by_digest_that_runs(machine: Machine, ecr: Any, image: str) -> None:
    status, said = machine.run(
        log_in(password_of(token(ecr)), "/run/good")
        + f"docker pull -q {image} && docker inspect -f '{{{{.RepoDigests}}}}' {image} &&"
        "mkdir -p /run/models && printf weights > /run/models/a.pt &&"
        f"docker run --rm -v /run/models:/opt/ml/models {image}"
    )
    assert status == 0, said
    assert f"[{image}]" in said
    assert "model a.pt 7 bytes sha256:" in said


def test_a_push_from_the_machine(machine: Machine, ecr: Any, image: str) -> None:
    name = f"{SCOPE.host}/{REPOSITORY}:from-machine"
    status, said = machine.run(
        log_in(password_of(token(ecr)), "/run/push")
        + f"docker pull -q {image} && printf 'FROM {image}\\nLABEL made=here\\nCOPY note /note\\n'"
        " > /run/Dockerfile && mkdir -p /run/context && date > /run/context/note &&"
        f"docker build -q -t {name} -f /run/Dockerfile /run/context && docker push -q {name}"
    )
    assert status == 0, said
    [detail] = ecr.describe_images(
        repositoryName=REPOSITORY, imageIds=[{"imageTag": "from-machine"}]
    )["imageDetails"]
    assert not image.endswith(detail["imageDigest"])


def test_what_is_missing_is_named(machine: Machine, ecr: Any) -> None:
    status, said = machine.run(
        log_in(password_of(token(ecr)), "/run/missing")
        + f"docker pull {SCOPE.host}/nowhere:x; docker pull {SCOPE.host}/{REPOSITORY}:none"
    )
    assert status == 1
    assert "name unknown: The repository with name 'nowhere' does not exist" in said
    assert "manifest unknown: Requested image not found" in said


def test_models_come_over_tls(cloud: Cloud, machine: Machine, s3: Any) -> None:
    (cloud.models.folder / "a.pt").write_bytes(b"model")
    status, said = machine.run(f"curl -fsS https://{MODELS_HOST}/a.pt")
    assert (status, said) == (0, "model")
    signed = s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "models/detector.pt"}
    )
    path = signed.removeprefix(f"{cloud.endpoint}/{BUCKET}")
    host = f"{BUCKET}.s3.{SCOPE.region}.amazonaws.com"
    status, said = machine.run(f"curl -fsS {shlex.quote(f'https://{host}{path}')} | wc -c")
    assert (status, said.strip()) == (0, str(3 * 1024 * 1024))
