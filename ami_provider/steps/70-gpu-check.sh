#!/bin/bash
# The GPU answers and containers see it, where the machine has one (EXPECT_GPU=yes).
# On a machine without a GPU there is nothing to check, and that is fine.
. "$(dirname "$0")/lib.sh"

if [[ "${EXPECT_GPU:-no}" != yes ]]; then
    say "this machine type has no GPU: not checked"
    result '{"gpu":"none"}'
    exit 0
fi

if ! has nvidia-smi; then
    fail gpu-missing "there is no nvidia-smi on a machine that has a GPU: the base AMI has no NVIDIA driver"
fi
# The driver can take some seconds after boot.
for attempt in 1 2 3 4 5; do
    if names="$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>&1)"; then break; fi
    case "$names" in
        *"No devices"*) fail gpu-missing "nvidia-smi finds no device" ;;
    esac
    [[ "$attempt" != 5 ]] || fail driver-broken "nvidia-smi: $(last 400 "$names")"
    sleep 2
done
[[ -n "$names" ]] || fail gpu-missing "nvidia-smi lists no GPU"
say "GPU: $names"

runtimes="$(docker info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>&1)" ||
    fail docker-down "$(last 400 "$runtimes")"
if [[ " $runtimes " != *" nvidia "* ]] && ! has nvidia-container-runtime-hook && ! has nvidia-ctk; then
    fail runtime-blind "Docker has no NVIDIA runtime (it has: $runtimes)"
fi
if IFS=$'\t' read -r uri _ <"$state/images.tsv" && [[ -n "$uri" ]]; then
    if ! seen="$(docker run --rm --gpus all --network none --entrypoint nvidia-smi "$uri" -L 2>&1)"; then
        fail runtime-blind "a container of $uri sees no GPU: $(last 400 "$seen")"
    fi
    say "in a container: $seen"
fi
result "{\"gpu\":$(json_string "${names%%$'\n'*}")}"
