"""Runs on a machine, as the ECS agent would: pulls by the agent's own settings, starts, waits.

Standard library only: this text is sent to the machine, after a line that sets ORDER_TEXT (JSON in
base64). It prints one line of JSON. Commands: `hello`, `start`, `wait`, `stop`.
"""

import base64
import http.client
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ORDER = json.loads(base64.b64decode(globals().get("ORDER_TEXT", "e30=")))
METADATA = "http://169.254.169.254/latest/"
#: The list of authorities that the machine trusts, the cloud's own among them.
TRUSTED = Path("/run/local-cloud/ca-certificates.crt")
TRUST_SETTINGS = (
    "SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"
)  # fmt: skip
PULLED = Path("/var/lib/ecs/data/pulled-images.json")
ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/")


class FailedError(Exception):
    """What the agent reports as a container's reason."""


class Docker(http.client.HTTPConnection):
    """Docker's API on its socket."""

    def __init__(self) -> None:
        super().__init__("docker")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def docker(
    method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and whole body of one call to Docker."""
    connection = Docker()
    sent = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    return answer.status, answer.read()


def message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()


def agent() -> dict[str, str] | None:
    """The settings that the running agent was started with, or None when it does not run."""
    asked = ["systemctl", "show", "-p", "MainPID", "--value", "ecs"]
    pid = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if pid in ("", "0"):
        return None
    held = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(one.split("=", 1) for one in held.split("\0") if "=" in one)


def hello() -> dict[str, Any]:
    """Once the agent runs: its settings and the GPUs it can give to containers."""
    until = time.time() + ORDER["seconds"]
    while (settings := agent()) is None:
        if time.time() > until:
            raise FailedError("the ECS agent does not run")
        time.sleep(0.1)
    gpus: list[str] = []
    if settings.get("ECS_ENABLE_GPU_SUPPORT", "").lower() == "true":
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        gpus = re.findall(r"UUID: ([^)]+)\)", listed.stdout)
    shown = {name: value for name, value in settings.items() if name.startswith("ECS_")}
    return {"gpus": gpus, "settings": shown}


def metadata(path: str, token: str | None = None) -> str:
    request = urllib.request.Request(METADATA + path, method="GET" if token else "PUT")  # noqa: S310
    if token:
        request.add_header("X-aws-ec2-metadata-token", token)
    else:
        request.add_header("X-aws-ec2-metadata-token-ttl-seconds", "300")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def registry_login(image: str) -> dict[str, str]:
    """Docker's header for an image of ECR: a token for the instance's role, only in memory."""
    match = ECR.match(image)
    if match is None:
        return {}
    account, region = match.groups()
    token = metadata("api/token")
    role = metadata("meta-data/iam/security-credentials/", token).strip()
    keys = json.loads(metadata(f"meta-data/iam/security-credentials/{role}", token))
    # The key goes in on standard input: an argument could be read by every process.
    config = f'user = "{keys["AccessKeyId"]}:{keys["SecretAccessKey"]}"\n'
    config += f'header = "X-Amz-Security-Token: {keys["Token"]}"\n'
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    command = [
        "curl", "-sS", "-K", "-", "--aws-sigv4", f"aws:amz:{region}:ecr", "--max-time", "30",
        "-H", "Content-Type: application/x-amz-json-1.1", "-H", f"X-Amz-Target: {target}",
        "--data", json.dumps({"registryIds": [account]}),
        f"https://api.ecr.{region}.amazonaws.com/",
    ]  # fmt: skip
    asked = subprocess.run(command, input=config, capture_output=True, text=True, check=False)
    try:
        data = json.loads(asked.stdout)["authorizationData"][0]
    except (ValueError, KeyError, IndexError):
        said = (asked.stdout or asked.stderr).strip()[:300]
        raise FailedError(f"CannotPullECRContainerError: ECR gives no token: {said}") from None
    name, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    server = data["proxyEndpoint"].partition("://")[2]
    login = json.dumps({"username": name, "password": password, "serveraddress": server})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(login.encode()).decode()}


def is_here(image: str) -> bool:
    return docker("GET", f"/images/{image}/json")[0] == 200


def pull(image: str) -> str:
    """Pull as Docker's API does it; what it said last."""
    wanted = image if "@" in image or ":" in image.rsplit("/", 1)[-1] else image + ":latest"
    path = f"/images/create?fromImage={wanted}"
    status, content = docker("POST", path, headers=registry_login(image))
    if status != 200:
        raise FailedError(
            f"CannotPullContainerError: Error response from daemon: {message(content)}"
        )
    last = ""
    for line in content.splitlines():
        said = json.loads(line)
        if "error" in said:
            raise FailedError(f"CannotPullContainerError: {said['error']}")
        last = said.get("status", last)
    return last


def get_image(image: str, settings: dict[str, str]) -> dict[str, str]:
    """Have the image by ECS_IMAGE_PULL_BEHAVIOR (ECS developer guide, agent configuration).

    default: pull, and use what is there if that fails. always: pull. once: pull unless a task on
    this machine did. prefer-cached: pull only what is not there, matched by the exact string.
    """
    behaviour = settings.get("ECS_IMAGE_PULL_BEHAVIOR", "default")
    pulled = json.loads(PULLED.read_text()) if PULLED.exists() else []
    if behaviour == "prefer-cached" and is_here(image):
        return {"how": "cached", "behaviour": behaviour}
    if behaviour == "once" and image in pulled and is_here(image):
        return {"how": "cached", "behaviour": behaviour}
    try:
        said = pull(image)
    except FailedError as failure:
        if behaviour in ("default", "") and is_here(image):
            why = str(failure)
            return {"how": "cached after a failed pull", "behaviour": behaviour, "why": why}
        raise
    PULLED.parent.mkdir(parents=True, exist_ok=True)
    PULLED.write_text(json.dumps(sorted({*pulled, image})))
    how = "pulled" if "up to date" not in said else "pulled, and was up to date"
    return {"how": how, "behaviour": behaviour}


def trust(container: dict[str, Any]) -> dict[str, Any]:
    """Let the container trust AWS's names as the machine does, by the settings that clients read.

    On AWS nothing is needed: an image's own list of authorities has Amazon's.
    """
    if not TRUSTED.exists():
        return container
    named = {one.partition("=")[0] for one in container["Env"]}
    more = [f"{name}={TRUSTED}" for name in TRUST_SETTINGS if name not in named]
    host = container["HostConfig"]
    binds = [*host["Binds"], f"{TRUSTED}:{TRUSTED}:ro"]
    return container | {
        "Env": container["Env"] + more,
        "HostConfig": host | {"Binds": binds},
    }


def start() -> dict[str, Any]:
    """Image, container, start: what was done and when, in seconds since 1970."""
    settings = agent()
    if settings is None:
        raise FailedError("AgentError: the ECS agent does not run")
    done: dict[str, Any] = {"began": time.time()}
    container = trust(ORDER["container"])
    try:
        done["image"] = get_image(container["Image"], settings)
    except OSError as error:
        raise FailedError(f"CannotPullContainerError: {error}") from None
    done["image_ready"] = time.time()
    status, content = docker("POST", f"/containers/create?name={ORDER['name']}", container)
    if status != 201:
        raise FailedError(
            f"CannotCreateContainerError: Error response from daemon: {message(content)}"
        )
    identity = json.loads(content)["Id"]
    status, content = docker("POST", f"/containers/{identity}/start")
    if status not in (204, 304):
        raise FailedError(
            f"CannotStartContainerError: Error response from daemon: {message(content)}"
        )
    return {**done, "started": time.time(), "container": identity}


def wait() -> dict[str, Any]:
    """How the container ended, once it has."""
    name = ORDER["name"]
    status, content = docker("POST", f"/containers/{name}/wait")
    if status != 200:
        raise FailedError(f"DockerStateError: {message(content)}")
    state = json.loads(docker("GET", f"/containers/{name}/json")[1])["State"]
    ended = {"exit": state["ExitCode"], "stopped": time.time()}
    if state.get("OOMKilled"):
        ended["reason"] = "OutOfMemoryError: Container killed due to memory usage"
    elif state.get("Error"):
        ended["reason"] = f"ContainerRuntimeError: {state['Error']}"
    return ended


def in_seconds(text: str, *, default: int) -> int:
    """A duration of the agent's settings, such as `2m30s`, in whole seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return round(sum(float(count) * units[unit] for count, unit in parts)) if parts else default


def stop() -> dict[str, Any]:
    """SIGTERM, then SIGKILL after ECS_CONTAINER_STOP_TIMEOUT (30 s)."""
    seconds = in_seconds((agent() or {}).get("ECS_CONTAINER_STOP_TIMEOUT", ""), default=30)
    docker("POST", f"/containers/{ORDER['name']}/stop?t={seconds}")
    return wait()


def main() -> None:
    try:
        said = {"hello": hello, "start": start, "wait": wait, "stop": stop}[ORDER["do"]]()
    except FailedError as failure:
        said = {"failed": str(failure)}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
