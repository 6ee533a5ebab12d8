"""A process with a room of five machines that waits to be killed: `doomed.py FOLDER`.

It prints its machines' processes, each with the start time that tells it from a later namesake.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from local_cloud.machines import linux
from tests.local_cloud.machines.room import find_record, open_room


def main() -> None:
    room = open_room(Path(sys.argv[1]), temporary=True)
    for _ in range(5):
        room.boot()
    group = find_record(os.getpid()).group
    files = [file for folder in group.folders for file in folder.rglob("cgroup.procs")]
    pids = {int(pid) for file in files for pid in file.read_text().split()}
    began = {pid: linux.start_time(pid) for pid in pids}
    print(json.dumps({pid: at for pid, at in began.items() if at is not None}), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
