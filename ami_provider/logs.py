"""The whole logs of a machine's steps, without secrets: read, and kept for a person to find."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from ami_provider.commands import STATE, read_output
from ami_provider.job import Job
from ami_provider.machines import Machine
from ami_provider.redaction import redact

MARK = "baked-ami-log-of: "
LAST_BYTES = 4_000_000
"""Of one step's log, how much is fetched through SSM."""

# Oldest first. A step that still runs, or whose log was removed, hinders nothing.
PRINT_ALL = f"""cd {STATE}/log 2>/dev/null && ls -tr -- *.log | while read -r log; do
echo "{MARK}$log"; tail -c {LAST_BYTES} "$log" | bash {STATE}/steps/redact.sh; echo; done"""


def read_logs(job: Job, machine: Machine) -> dict[str, str]:
    """The log of every step that ran on the machine, by the step's name, in their order."""
    text = read_output(job.aws, machine.id, PRINT_ALL, why="read the logs")
    parts = text.split(MARK)[1:]
    named = (part.partition("\n") for part in parts)
    return {name.removesuffix(".log"): redact(log).strip() for name, _, log in named}


def save_logs(job: Job, machine: Machine, logs: Mapping[str, str]) -> str:
    """Write them to a file of this user's alone; gives its path."""
    head = f"# The steps of {job.ami_name} on {machine}. What looked like a secret is taken out.\n"
    text = head + "".join(f"\n==> {name}\n{log}\n" for name, log in logs.items())
    prefix = f"baked-ami-{job.lineage.name}-{machine.id}-"
    descriptor, path = tempfile.mkstemp(".log", prefix)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path
