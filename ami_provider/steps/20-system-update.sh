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

# give_up KIND MESSAGE: end the step with what the tool said about it.
give_up() {
    fail "$1" "$2: $(tail -n 4 "$log" | paste -sd ' ' - | tail -c 400)"
}

# What the tool says for certain: another attempt would end the same. Anything else is tried again.
end_if_final() {
    case "$(<"$log")" in
        *"o space left on device"* | *"more space needed on"* | *"isk Requirements:"*)
            give_up disk-full "$(free_bytes "$root/var") bytes are free on $root/" ;;
        *"GPG check FAILED"* | *"Public key for "*" is not installed"* | *"not signed"*)
            give_up package-signature "$tool refuses a package" ;;
        *"conflicting requests"* | *"nothing provides"* | *"cannot install both"* | *"filtered out by exclude filtering"* | \
            *"epsolve Error"* | *"ependency Process ending with error"* | *"Transaction check error"* | *"Error: Package: "* | \
            *"Protected multilib versions"*)
            give_up package-conflict "with ${HELD_PACKAGES:-nothing} held" ;;
        *"criptlet failed"* | *"Error unpacking rpm package"* | *"Transaction failed"* | *"pmdb open failed"*)
            give_up system-update "$tool could not install what it fetched" ;;
    esac
}

log="$state/system-update.log"
for attempt in 1 2 3; do
    if "$tool" "${arguments[@]}" update 2>&1 | tee "$log"; then
        say "updated with $tool; held: ${HELD_PACKAGES:-nothing}"
        rm -f "$log"
        exit 0
    fi
    end_if_final
    say "$tool failed (attempt $attempt of 3)"
    sleep $((attempt * 2))
done
case "$(<"$log")" in
    *"Failed to download metadata"* | *"valid baseurl"* | *"Curl error"* | *"irror"* | *"Status code: "* | *"Could not resolve host"* | *"imeout"*)
        give_up package-mirror "$tool could not update the system in 3 attempts" ;;
    *"holding the yum lock"* | *"transaction lock"* | *"Waiting for process with pid"* | *"rpm lock"*)
        give_up package-lock "$tool waits for another one" ;;
esac
give_up system-update "$tool could not update the system in 3 attempts"
