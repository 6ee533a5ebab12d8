#!/bin/bash
# join.sh FOLDER... -- COMMAND...: join the control groups, then become COMMAND.
# A machine's systemd removes empty groups that it does not know while it boots, also between their
# making and the joining: such a group is made again, as long as the one above it is there.
set -eu

join() {
  local file
  for _ in {1..50}; do
    if { echo $$ > "$1/cgroup.procs"; } 2> /dev/null; then return 0; fi
    mkdir "$1" 2> /dev/null || [ -d "$1" ] || break
    for file in cpuset.cpus cpuset.mems; do # a version 1 cpuset starts empty
      if [ -e "$1/cgroup.clone_children" ] && [ -e "$1/$file" ]; then
        { cat "${1%/*}/$file" > "$1/$file"; } 2> /dev/null || true
      fi
    done
  done
  echo $$ > "$1/cgroup.procs" # in vain, and with the kernel's own reason
}

while [ "$1" != -- ]; do
  join "$1"
  shift
done
shift
exec "$@"
