"""The environment that makes a command's AWS clients, and Pulumi, use a local cloud."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

PLUGIN_FOLDER = Path(__file__).parent / "pulumi_plugin"
#: Settings of the caller's that would send clients elsewhere, or as somebody else.
CLEARED = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
    "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CA_BUNDLE",
)  # fmt: skip


def default_state() -> Path:
    """Where a cloud keeps its state when a command needs a folder and none was named."""
    return Path(os.environ.get("LOCAL_CLOUD_STATE", ".local-cloud")).absolute()


def client_environment(cloud: Cloud) -> dict[str, str]:
    """A copy of this process's environment, pointed at the cloud."""
    environment = {name: value for name, value in os.environ.items() if name not in CLEARED}
    for name in list(environment):
        if name.startswith("AWS_ENDPOINT_URL_"):
            del environment[name]
    backend = cloud.root / "pulumi"
    backend.mkdir(exist_ok=True)
    folders = [str(Path(sys.executable).parent)]
    if not _has_real_plugin():
        folders.append(str(PLUGIN_FOLDER))
    environment.update(
        AWS_ENDPOINT_URL=cloud.endpoint,
        AWS_REGION=cloud.region,
        AWS_DEFAULT_REGION=cloud.region,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",  # noqa: S106
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        LOCAL_CLOUD_PYTHON=sys.executable,  # for the aws plugin stand-in
        PULUMI_BACKEND_URL=f"file://{backend}",
        PULUMI_CONFIG_PASSPHRASE="",
        PULUMI_SKIP_UPDATE_CHECK="1",
        PATH=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
    )
    environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
    environment.pop("PULUMI_ACCESS_TOKEN", None)
    return environment


def _has_real_plugin() -> bool:
    """Whether Pulumi's own `aws` plugin is installed for this user, or on PATH."""
    home = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi"))
    if any((home / "plugins").glob("resource-aws-v*/pulumi-resource-aws*")):
        return True
    return shutil.which("pulumi-resource-aws") is not None
