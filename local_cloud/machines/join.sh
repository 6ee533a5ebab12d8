#!/bin/bash
# join.sh FOLDER... -- COMMAND...: join the control groups, then become COMMAND.
set -eu
while [ "$1" != -- ]; do
  echo $$ > "$1/cgroup.procs"
  shift
done
shift
exec "$@"
