"""What holds for every test: no way to a real AWS account, our Python first, quick tests first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REAL_ACCOUNT = (
    *(
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_ENDPOINT_URL",
    ),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_REGION", "AWS_DEFAULT_REGION"),
)


def pytest_configure() -> None:
    """Before any test module is imported: what is set here, every process started inherits."""
    for name in REAL_ACCOUNT:
        os.environ.pop(name, None)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    # Pulumi, and the Python that its language host starts, are the ones of this environment.
    ours = str(Path(sys.prefix) / "bin")
    path = os.environ.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != ours:
        os.environ["PATH"] = f"{ours}{os.pathsep}{path}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, then those with real machines, then the real engine; else as they were."""
    items.sort(key=_slowness)


def _slowness(item: pytest.Item) -> int:
    if item.get_closest_marker("engine"):
        return 2
    return 1 if item.get_closest_marker("machines") else 0
