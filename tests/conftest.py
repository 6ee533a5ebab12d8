"""What holds for every test: no real AWS account, temporary files apart, quick tests first."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS", "WORKERS")
"""What `make test` got is not for the makes that tests start."""
REAL_ACCOUNT = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
]
TEMPORARY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: what is set here, every process started inherits."""
    for name in (*REAL_ACCOUNT, *OF_MAKE):
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # Started in a shell's background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
    _separate_temporary_files(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what is left in this process's temporary folder; `tmp_path` is kept elsewhere."""
    shutil.rmtree(config.stash[TEMPORARY], ignore_errors=True)


def _separate_temporary_files(config: pytest.Config) -> None:
    """A temporary folder for this test process: a local cloud clears away what dead ones left
    in the temporary folder, and would do it for those that another process's tests have killed."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    root = os.environ["PYTEST_DEBUG_TEMPROOT"]  # short: sockets' paths are limited
    config.stash[TEMPORARY] = Path(tempfile.mkdtemp(prefix="t-", dir=root))
    tempfile.tempdir = os.environ["TMPDIR"] = str(config.stash[TEMPORARY])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The kill and the fault matrix as a table, where their tests ran: a row for each kind."""
    rows = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "matrix"
    ]
    if rows:
        heads = ["trouble", "cells", "succeeded", "clear error", "wrong", "seconds"]
        terminalreporter.section("a bake under trouble, one cell for each action in each phase")
        for row in [heads, *rows]:
            terminalreporter.write_line(f"{row[0]:30}" + "".join(f"{v!s:>13}" for v in row[1:]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, then those with real machines, then the real engine; else as they were."""
    items.sort(key=_slowness)


def _slowness(item: pytest.Item) -> int:
    if item.get_closest_marker("engine"):
        return 2
    return 1 if item.get_closest_marker("machines") else 0
