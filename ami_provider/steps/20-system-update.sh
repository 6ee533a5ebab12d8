#!/bin/bash
# Update the system's packages; those in HELD_PACKAGES (kernel and NVIDIA by default) stay.
# A driver built for one kernel does not load in another, and the builder is not rebooted.
. "$(dirname "$0")/lib.sh"

if [[ "${SYSTEM_UPDATE:-yes}" != yes ]]; then
    say "the system update is off"
    exit 0
fi
if has dnf; then
    tool=dnf
elif has yum; then
    tool=yum
else
    say "there is neither dnf nor yum here: nothing to update"
    exit 0
fi

arguments=(-y)
set -f # the held names are patterns for the package tool, not for this folder
for held in ${HELD_PACKAGES:-}; do
    arguments+=("--exclude=$held")
done
set +f
if [[ "$tool" == dnf ]]; then
    arguments+=(--setopt=keepcache=False)
fi

for attempt in 1 2 3; do
    if "$tool" "${arguments[@]}" update; then
        say "updated with $tool; held: ${HELD_PACKAGES:-nothing}"
        exit 0
    fi
    say "$tool failed (attempt $attempt of 3)"
    sleep $((attempt * 2))
done
fail package-mirror "$tool could not update the system in 3 attempts"
