"""Puts files into a machine's memory through SSM Run Command: packed, in few commands."""

from __future__ import annotations

import base64
import gzip
import secrets
import shlex
from collections.abc import Mapping

from ami_provider import waiting
from ami_provider.aws import Aws
from ami_provider.commands import STATE, run_command
from ami_provider.errors import BakeError
from ami_provider.failures import find_failure

CHUNK = 40_000
"""Characters of one command. SSM refuses a document with its parameters beyond 64 KiB."""

END = "end-of-this-baked-ami-file"


def deliver(aws: Aws, machine_id: str, files: Mapping[str, bytes]) -> None:
    """Put files below `STATE` on the machine, each whole or not at all; none is on its disk."""
    script = [f"put() {{ cat >{STATE}/$1.$$; mv -f {STATE}/$1.$$ {STATE}/$1; }}"]
    for name, content in sorted(files.items()):
        script += _put(name, content)
    packed = gzip.compress("\n".join([*script, ""]).encode(), mtime=0)
    text = base64.b64encode(packed).decode()
    name = secrets.token_hex(8)  # Its own: another client may deliver to this machine just now.
    folder = f"{STATE}/delivery"
    head = f"set -eu; umask 077; mkdir -p {folder} {STATE}/steps"
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    for number, chunk in enumerate(chunks):
        part = f"{folder}/{name}.{number:04}"
        lines = [head, f"cat >{part}-$$ <<'.'", chunk, ".", f"mv -f {part}-$$ {part}"]
        if number == len(chunks) - 1:  # Perhaps run twice at once, when its answer was lost.
            whole = f"{folder}/{name}"
            lines += [
                f"exec 9>{whole}.lock",
                "flock 9",
                f"if [ ! -e {whole}.done ]; then",
                f"cat {whole}.[0-9][0-9][0-9][0-9] | base64 -di | gzip -dc >{whole}.sh",
                f"bash -eu {whole}.sh",
                f"touch {whole}.done",
                f"rm -f {whole}.sh",
                "fi",
                f"find {folder} -name '{name}.[0-9]*' -delete",
            ]
        why = f"deliver the steps ({number + 1} of {len(chunks)})"
        _insist(aws, machine_id, "\n".join(lines), why)


def _put(name: str, content: bytes) -> list[str]:
    """Lines that put one file. Plain text stays as it is, which packs to a third of its base64."""
    plain = content.isascii() and content.endswith(b"\n") and b"\0" not in content
    if plain and END.encode() not in content:
        return [f"put {shlex.quote(name)} <<'{END}'", content.decode() + END]
    text = base64.encodebytes(content).decode()
    return [f"base64 -d <<'{END}' | put {shlex.quote(name)}", text + END]


def _insist(aws: Aws, machine_id: str, script: str, why: str) -> None:
    """Run what can only fail for a moment: a machine that has just come up."""
    for pause in (0.5, 2.0, 5.0, 0.0):
        reply = run_command(aws, machine_id, script, timeout_s=120, why=why)
        if reply.status == "Success":
            return
        waiting.sleep(pause)
    if known := find_failure(reply.output):
        raise BakeError(
            f"could not {why} on {machine_id}: {known.failure.cause}",
            f"{reply.status}: {reply.output[-800:]}",
            known.failure.remedy,
        )
    raise BakeError(
        f"could not {why} on {machine_id}",
        f"{reply.status}: {reply.output[-800:]}",
        "The base AMI must have bash, coreutils, gzip and util-linux, and room in /run.",
    )
