#!/bin/bash
# Run one step on the machine: bash run.sh STEP KEY TOKEN SECONDS
#
# One at a time under a lock. A step that ended well for this KEY (its script and parameters) is not
# run again; one that failed is, but not for the same TOKEN: then only its answer was lost.
# Prints the end of the log if it failed, where the whole of it went and, last, what the step tells. Everything is
# kept in memory.
set -euo pipefail
umask 077

step="$1" key="$2" token="$3" seconds="$4"
state="${BAKED_AMI_STATE:-/run/baked-ami}"
mkdir -p "$state/log" "$state/ran" "$state/results"

# This machine ends itself when nobody comes back: some time after the longest step that was asked for.
# The timer lives in /run, so it is not in the AMI.
arm_deadline() {
    local due unit old
    command -v systemd-run >/dev/null 2>&1 || return 0
    due=$(($(date +%s) + $1))
    if [[ -s "$state/deadline" && "$(cat "$state/deadline")" -ge "$due" ]]; then return 0; fi
    unit="baked-ami-deadline-$due"
    systemd-run --quiet --unit="$unit" --on-active="$1" --timer-property=AccuracySec=1s \
        systemctl poweroff >/dev/null 2>&1 || return 0
    echo "$due" >"$state/deadline"
    for old in $(systemctl list-units --all --plain --no-legend 'baked-ami-deadline*.timer' 2>/dev/null | cut -d ' ' -f 1); do
        if [[ "$old" != "$unit.timer" ]]; then systemctl stop "$old" >/dev/null 2>&1 || true; fi
    done
}

(
    flock 8
    arm_deadline "$((seconds + ${BAKED_AMI_GRACE:-900}))" 8>&-
) 8>"$state/deadline.lock"

exec 9>"$state/ran/$step.lock"
flock 9

log="$state/log/$step.log"
ran="$state/ran/$step"
if [[ -s "$ran" ]]; then
    read -r ran_key ran_token status <"$ran"
else
    ran_key="" ran_token="" status=1
fi
if [[ "$ran_key" == "$key" && ("$status" == 0 || "$ran_token" == "$token") ]]; then
    echo "($step has run already)"
else
    rm -f "$ran" "$state/results/$step.json"
    trace=()
    if [[ "${BAKED_AMI_DEBUG:-no}" == yes ]]; then trace=(-x); fi
    status=0
    BAKED_AMI_COMMAND="$0" timeout --kill-after=10 "$seconds" \
        bash "${trace[@]+"${trace[@]}"}" "$state/steps/$step.sh" >"$log" 2>&1 9>&- </dev/null || status=$?
    if [[ "$status" == 124 || "$status" == 137 ]]; then
        echo "baked-ami-timeout: $step did not end within $seconds seconds" >>"$log"
    fi
    timeout --kill-after=10 180 bash "$(dirname "$0")/keep-log.sh" "$step" >"$log.kept" 2>&1 9>&- </dev/null ||
        echo "baked-ami-log: not kept: $(tail -n 1 "$log.kept")" >>"$log.kept"
    echo "$key $token $status" >"$ran.new"
    mv -f "$ran.new" "$ran"
fi

# What leaves this machine has no secret in it.
if [[ "$status" != 0 && -s "$log" ]]; then bash "$(dirname "$0")/redact.sh" <"$log" | tail -c 6000; fi
if [[ -s "$log.kept" ]]; then
    echo
    cat "$log.kept"
fi
if [[ -s "$state/results/$step.json" ]]; then
    echo
    if [[ "$(stat -c %s "$state/results/$step.json")" -le 12000 ]]; then
        printf 'baked-ami-result: %s\n' "$(cat "$state/results/$step.json")"
    else
        echo 'baked-ami-result: too long'
    fi
fi
exit "$status"
