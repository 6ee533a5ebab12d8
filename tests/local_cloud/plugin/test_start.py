"""The executable that an engine finds: which Python it takes, the port it prints, how it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from local_cloud.environment import PLUGIN_FOLDER

PLUGIN = PLUGIN_FOLDER / "pulumi-resource-aws"


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "LOCAL_CLOUD_PYTHON"}
    return kept | changes


@pytest.mark.parametrize("by", ["LOCAL_CLOUD_PYTHON", "PATH"])
def test_started_by_path_from_anywhere(tmp_path: Path, by: str) -> None:
    link = tmp_path / "pulumi-resource-aws"
    link.symlink_to(PLUGIN)
    ours = Path(sys.executable)
    changes = {by: str(ours)} if by == "LOCAL_CLOUD_PYTHON" else {}
    if by == "PATH":
        changes[by] = f"{ours.parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [link, "127.0.0.1:1"],
        cwd=tmp_path,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            assert stub.GetPluginInfo(empty_pb2.Empty()).version
    finally:
        process.terminate()
        assert process.wait() == 0


def test_it_ends_when_its_engine_is_gone() -> None:
    """The engine is killed: nobody says a word, its port just closes."""
    with socket.create_server(("127.0.0.1", 0)) as engine:
        process = subprocess.Popen(
            [PLUGIN, f"127.0.0.1:{engine.getsockname()[1]}"],
            env=environment(LOCAL_CLOUD_PYTHON=sys.executable),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert int(process.stdout.readline())
        connection, _ = engine.accept()
        connection.close()  # An engine closes what stays silent; that is not its end.
        connection, _ = engine.accept()
        assert process.poll() is None
    connection.close()
    assert process.wait() == 0


def test_no_fitting_python_is_said(tmp_path: Path) -> None:
    for name in ("python3", "python"):
        none = tmp_path / name
        none.write_text("#!/bin/sh\nexit 1\n")
        none.chmod(0o755)
    folder = tmp_path / "checkout" / "local_cloud" / "pulumi_plugin"
    folder.mkdir(parents=True)
    copy = folder / PLUGIN.name
    copy.write_text(PLUGIN.read_text())
    copy.chmod(0o755)
    done = subprocess.run(
        [copy],
        env=environment(PATH=f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "set LOCAL_CLOUD_PYTHON" in done.stderr
    assert "pulumi plugin install resource aws" in done.stderr
