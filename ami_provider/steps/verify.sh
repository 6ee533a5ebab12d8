#!/bin/bash
# Run on a machine that was booted from the new AMI: is it what the recipe says, and nothing more?
# Every check is made; all that is wrong is told at once.
. "$(dirname "$0")/lib.sh"

wrong=0
first_kind=""
# refuse KIND MESSAGE: note it, and go on to the next check.
refuse() {
    wrong=$((wrong + 1))
    first_kind="${first_kind:-$1}"
    printf 'not right (%s): %s\n' "$1" "$2"
}

# Seconds since 1970 when this machine's first process started: files older than that were baked in.
# To the hundredth: an AMI may be booted within a second of what its builder wrote last.
booted_at() {
    local ticks start
    ticks="$(getconf CLK_TCK 2>/dev/null || echo 100)"
    start="$(sed 's/^.*) //' /proc/1/stat | cut -d ' ' -f 20)"
    awk -v now="$(date +%s.%N)" -v start="$start" -v ticks="$ticks" \
        '{printf "%.2f\n", now - $1 + start / ticks}' /proc/uptime
}

# start_docker: fails, and says so, where it does not.
start_docker() {
    systemctl start docker.service >/dev/null 2>&1 || true
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        docker version >/dev/null 2>&1 && return 0
        if [[ "$attempt" != 10 ]]; then sleep 1; fi
    done
    refuse docker-down "Docker does not start from this AMI: $(docker version 2>&1 | tail -n 1)"
    return 1
}

# Nothing but what the base AMI has and the recipe names: no image or layer, no model's file, no setting that an
# earlier recipe left. What the recipe's own extra steps add, nobody but they can tell.
check_nothing_else() {
    if [[ ! -f "$base/images" ]]; then return 0; fi
    if compgen -G "$(dirname "$0")/60-*.sh" >/dev/null; then
        say "extra steps may have added to images, models and settings: not checked for anything else"
        return 0
    fi
    refuse_listed "an image that the recipe does not name" list_other_images
    refuse_listed "a layer that no image has" list_unused_layers
    refuse_listed "a file among the models that the recipe does not name" list_unknown_files
    merge_settings "$base/ecs.config" | cmp -s - "$root/etc/ecs/ecs.config" ||
        refuse agent-settings "/etc/ecs/ecs.config says more, or less, than the base AMI's with the recipe's settings"
}

# refuse_listed WHAT COMMAND: for each line that it prints, and where it fails.
refuse_listed() {
    local line
    "$2" >"$state/others" 2>"$state/others.err" ||
        refuse former-left "$2 failed: $(tail -n 1 "$state/others.err")"
    while IFS= read -r line; do
        refuse former-left "$1: $line"
    done <"$state/others"
}

list_unknown_files() { list_other_files | LC_ALL=C comm -23 - "$base/files"; }

# Before any container is made: folders of layers that belong to none of the images.
list_unused_layers() {
    local folder="$root/var/lib/docker/overlay2" used
    [[ -d "$folder" ]] || return 0
    used="$(docker image ls --all --quiet --no-trunc | sort -u | xargs -r docker image inspect \
        --format '{{with .GraphDriver.Data}}{{.UpperDir}}:{{.LowerDir}}{{end}}' | tr ':' '\n' |
        sed -n 's|.*/overlay2/\([^/]*\)/diff$|\1|p' | LC_ALL=C sort -u)" || return 1
    find "$folder" -mindepth 2 -maxdepth 2 -type d -name diff -printf '%h\n' | sed 's|.*/||' |
        LC_ALL=C sort | LC_ALL=C comm -23 - <(printf '%s\n' "$used")
}

check_images() {
    local uri tag id
    while IFS=$'\t' read -r uri tag; do
        if ! id="$(docker image inspect --format '{{.Id}}' "$uri" 2>/dev/null)"; then
            refuse image-missing "$uri is not on this AMI"
            continue
        fi
        if [[ "$tag" != - && "$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null)" != "$id" ]]; then
            refuse image-missing "$tag does not name $uri"
        fi
        run_once "$uri"
        say "image $uri"
    done <"$state/images.tsv"
}

# A container is made, every file in it is read, and its runtime starts it.
run_once() {
    local uri="$1" container message
    if ! container="$(docker create --network none --entrypoint true "$uri" 2>&1)"; then
        refuse image-broken "no container can be made of $uri: $(last 300 "$container")"
        return 0
    fi
    if ! docker export "$container" >/dev/null 2>"$state/export.err"; then
        refuse image-broken "the files of $uri cannot be read: $(tail -c 300 "$state/export.err")"
    elif ! message="$(docker start -a "$container" 2>&1)"; then
        case "$message" in
            *"executable file not found"* | *"no such file or directory"*) ;; # no `true` in it: it got that far
            *) refuse image-broken "a container of $uri does not run: $(last 300 "$message")" ;;
        esac
    fi
    docker rm -f "$container" >/dev/null 2>&1 || true
}

# The user's own command in the first image, which sees the models where jobs do.
check_smoke_command() {
    local uri folder code=0 arguments=(--rm --name baked-ami-smoke)
    IFS=$'\t' read -r uri _ <"$state/images.tsv"
    if [[ "${EXPECT_GPU:-no}" == yes ]]; then arguments+=(--gpus all); fi
    if [[ -s "$state/models.tsv" ]]; then
        while IFS= read -r folder; do
            arguments+=(--volume "$folder:$folder:ro")
        done < <(cut -f 3 "$state/models.tsv" | sed 's|/[^/]*$||; s|^$|/|' | grep -vx / | sort -u)
    fi
    timeout "${SMOKE_TIMEOUT:-300}" docker run "${arguments[@]}" --entrypoint sh "$uri" \
        -c "$SMOKE_COMMAND" >"$state/smoke.log" 2>&1 || code=$?
    docker rm -f baked-ami-smoke >/dev/null 2>&1 || true # what ran out of time goes on by itself
    tail -c 4000 "$state/smoke.log"
    case "$code" in
        0) say "the smoke command succeeded in $uri" ;;
        124) refuse smoke-command "the smoke command did not end within ${SMOKE_TIMEOUT:-300} seconds in $uri" ;;
        *) refuse smoke-command "the smoke command ended with exit code $code in $uri" ;;
    esac
}

check_layers() {
    local baked now
    baked="$(cat "$root/etc/baked-ami/layers.sha256" 2>/dev/null)" || baked=""
    if [[ -z "$baked" ]]; then
        refuse manifest-missing "/etc/baked-ami/layers.sha256 is not there"
        return 0
    fi
    now="$(layers_digest)"
    [[ "$baked" == "$now" ]] ||
        refuse image-broken "the bytes of the image layers are not those that were baked ($now, not $baked)"
}

check_models() {
    local sha256 destination baked
    [[ -s "$state/models.tsv" ]] || return 0
    while IFS=$'\t' read -r _ _ destination sha256 _; do
        baked="$(awk -v name="$destination" 'substr($0, 67) == name {print $1}' \
            "$root/etc/baked-ami/models.sha256" 2>/dev/null)"
        if [[ "$sha256" == - ]]; then sha256="$baked"; fi
        if [[ -z "$sha256" ]]; then
            refuse manifest-missing "$destination is not in /etc/baked-ami/models.sha256"
        elif [[ ! -f "$root$destination" ]]; then
            refuse model-missing "$destination is not on this AMI"
        else
            printf '%s  %s\n' "$sha256" "$root$destination" >>"$state/expected.sha256"
        fi
    done <"$state/models.tsv"
    [[ -s "$state/expected.sha256" ]] || return 0
    # Several at a time: a cold volume answers many readers much faster than one.
    # shellcheck disable=SC2016 # $1 is the inner shell's
    tr '\n' '\0' <"$state/expected.sha256" |
        xargs -0 -P 8 -n 1 bash -c 'printf "%s\n" "$1" | sha256sum --check --status || printf "%s\n" "$1"' - \
            >"$state/changed.sha256" || true
    while read -r sha256 destination; do
        refuse model-checksum "$destination has not the SHA-256 $sha256"
    done <"$state/changed.sha256"
    say "models: $(wc -l <"$state/expected.sha256")"
}

check_agent() {
    local line
    if [[ -s "$state/agent.config" ]]; then
        while IFS= read -r line; do
            grep -qxF -- "$line" "$root/etc/ecs/ecs.config" 2>/dev/null ||
                refuse agent-settings "/etc/ecs/ecs.config does not say $line"
        done <"$state/agent.config"
    fi
    if grep -q '^ECS_CLUSTER=.' "$root/etc/ecs/ecs.config" 2>/dev/null; then
        refuse agent-identity "/etc/ecs/ecs.config names a cluster: every copy would join it"
    fi
    if [[ -n "$(find "$root/var/lib/ecs/data" -mindepth 1 -print -quit 2>/dev/null)" ]]; then
        refuse agent-identity "/var/lib/ecs/data holds an agent's state: every copy would be the same machine"
    fi
    if unit_exists ecs.service && ! systemctl is-enabled --quiet ecs.service 2>/dev/null &&
        [[ "$(systemctl is-enabled ecs.service 2>/dev/null)" != masked-runtime ]]; then
        refuse agent-settings "the ECS agent does not start at boot"
    fi
}

check_timers() {
    local found
    found="$(grep -rlsE 'baked-ami-deadline|shutdown .*-h' "$root/etc/systemd" "$root/etc/cron.d" \
        "$root/etc/crontab" "$root/var/spool/cron" "$root/var/spool/at" "$root/etc/rc.local" 2>/dev/null | head -n 3)" || true
    if [[ -n "$found" ]]; then
        refuse timer-baked-in "a builder's timer is on this AMI: $found"
    fi
}

# secret-patterns.txt: "path <tab> pattern" for files that must not be (older than this boot),
# "text <tab> expression" for what no file may hold.
check_secrets() {
    local kind value boot found
    boot="$(booted_at)"
    : >"$state/secret-expressions"
    while IFS=$'\t' read -r kind value; do
        case "$kind" in
            path)
                found="$(find "$root"/etc "$root"/root "$root"/home "$root"/var/lib "$root"/opt "$root"/tmp \
                    -xdev \( -path "$root/var/lib/docker" -o -path "$root/var/lib/containerd" \) -prune \
                    -o -path "$root$value" -type f -size +0 -not -newermt "@$boot" -print 2>/dev/null | head -n 3)" || true
                [[ -z "$found" ]] || refuse secret "left over from the builder: ${found//$'\n'/, }"
                ;;
            text) printf '%s\n' "$value" >>"$state/secret-expressions" ;;
        esac
    done < <(grep -v '^#' "$(dirname "$0")/secret-patterns.txt")
    find "$root"/etc "$root"/root "$root"/home "$root"/opt "$root"/srv "$root"/tmp "$root"/var \
        "$root"/usr/local -xdev \( -path "$root/var/lib/docker" -o -path "$root/var/lib/containerd" \
        -o -path "$root/var/lib/rpm" -o -path "$root/var/lib/dpkg" \) -prune \
        -o -type f -size -1025k -not -newermt "@$boot" -print0 2>/dev/null |
        xargs -0 -r -P 4 -n 200 grep -lsaE -f "$state/secret-expressions" >"$state/secret-files" 2>/dev/null || true
    while IFS= read -r found; do
        refuse secret "$found holds something that looks like a credential"
    done < <(head -n 20 "$state/secret-files")
    say "secrets: $(wc -l <"$state/secret-files") files look like one"
}

rm -f "$state/expected.sha256"
if [[ ! -f "$root/etc/baked-ami/manifest.json" ]]; then
    refuse manifest-missing "/etc/baked-ami/manifest.json is not there"
elif ! grep -q "\"fingerprint\": \"$FINGERPRINT\"" "$root/etc/baked-ami/manifest.json"; then
    refuse manifest-missing "/etc/baked-ami/manifest.json is of another recipe"
fi
check_layers # before any container is made
if [[ -s "$state/images.tsv" ]] && start_docker; then
    check_nothing_else
    check_images
fi
check_models
check_agent
check_timers
check_secrets
if ! gpu="$(bash "$(dirname "$0")/70-gpu-check.sh")"; then
    kind="$(sed -n 's/^baked-ami-failure: \([a-z-]*\):.*/\1/p' <<<"$gpu")"
    refuse "${kind:-gpu-missing}" "${gpu##*baked-ami-failure: }"
else
    say "$gpu"
fi

if [[ -n "${SMOKE_COMMAND:-}" && "$wrong" == 0 ]]; then
    check_smoke_command
fi

result "{\"wrong\":$wrong}"
((wrong == 0)) || fail "${first_kind}" "$wrong checks did not hold"
say "verified"
