#!/bin/bash
# Pull every image by its digest and tag it. images.tsv: "repository@digest <tab> repository:tag or -" a line.
. "$(dirname "$0")/lib.sh"

export DOCKER_CONFIG="$state/docker"
log="$state/pull.log"

classify() {
    local uri="$1" message="$2"
    case "$message" in
        *"no space left on device"*)
            fail disk-full "pulling $uri: $(free_bytes "$root/var/lib/docker") bytes are free" ;;
        *"authorization token has expired"* | *"token has expired"*)
            fail token-expired "$uri: $(last 400 "$message")" ;;
        # Docker puts "repository does not exist or may require 'docker login'" before every denial.
        *denied* | *"no basic auth credentials"* | *unauthorized* | *"403 Forbidden"*)
            fail ecr-denied "$uri: $(last 400 "$message")" ;;
        *"manifest unknown"* | *"not found"* | *"does not exist"*)
            fail digest-gone "$uri: $(last 400 "$message")" ;;
        *"no such host"* | *"connection refused"* | *timeout* | *"deadline exceeded"* | *EOF* | *reset*)
            fail registry-unreachable "$uri: $(last 400 "$message")" ;;
        *"Cannot connect to the Docker daemon"*)
            fail docker-down "$(last 400 "$message")" ;;
    esac
    fail pull "$uri: $(last 400 "$message")"
}

pull() {
    local uri="$1" attempt
    if docker image inspect "$uri" >/dev/null 2>&1; then
        say "$uri is here already"
        return 0
    fi
    for attempt in 1 2 3 4; do
        if docker pull --quiet "$uri" >"$log" 2>&1; then
            say "pulled $uri"
            return 0
        fi
        say "docker pull $uri failed (attempt $attempt of 4): $(tail -c 400 "$log")"
        case "$(<"$log")" in
            *expired*) # twelve hours are long, but a resumed bake can be longer
                DOCKER_CONFIG="$DOCKER_CONFIG" bash "$(dirname "$0")/30-registry-login.sh" || true ;;
            *"no space left"* | *"manifest unknown"* | *denied* | *"not found"* | *"no basic auth"*) break ;;
        esac
        sleep $((attempt * attempt))
    done
    classify "$uri" "$(<"$log")"
}

# remove_former: every image and name that neither this recipe nor the base AMI has goes, with its layers.
# Docker drops the digests of a repository with its last tag: other names hold the layers meanwhile.
remove_former() {
    local id name uri tag number=0
    list_other_images >"$state/former-images"
    [[ -s "$state/former-images" ]] || return 0
    while IFS=$'\t' read -r uri _; do
        docker tag "$uri" "baked-ami-keep:$number"
        number=$((number + 1))
    done <"$state/images.tsv"
    while read -r id name; do
        if [[ "$name" != - ]]; then
            docker image rm "$name" >/dev/null 2>&1 || true
            say "removed $name"
        fi
    done <"$state/former-images"
    while read -r id name; do
        if [[ "$name" == - ]]; then docker image rm --force "$id" >/dev/null 2>&1 || true; fi
    done <"$state/former-images"
    while IFS=$'\t' read -r uri tag; do
        pull "$uri"
        if [[ "$tag" != - ]]; then docker tag "$uri" "$tag"; fi
    done <"$state/images.tsv"
    while ((number > 0)); do
        number=$((number - 1))
        docker image rm "baked-ami-keep:$number" >/dev/null
    done
    list_other_images >"$state/former-images"
    [[ ! -s "$state/former-images" ]] ||
        fail former-left "Docker does not let go of $(head -n 5 "$state/former-images" | paste -sd ',' -)"
}

systemctl start docker.service >/dev/null 2>&1 || true
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    docker version >/dev/null 2>&1 && break
    [[ "$attempt" != 10 ]] || fail docker-down "$(docker version 2>&1 | tail -n 2)"
    sleep 1
done

# What Docker has before the first pull on a machine of the base AMI is the base AMI's own.
# If that cannot be listed, nothing is baked from this AMI.
if [[ -z "$START" && ! -e "$state/base.images" && ! -e "$state/base.unknown" ]]; then
    if list_images >"$state/base.images.new"; then
        mv "$state/base.images.new" "$state/base.images"
    else
        : >"$state/base.unknown"
    fi
fi

report=""
while IFS=$'\t' read -r uri tag; do
    [[ -n "$uri" ]] || continue
    pull "$uri"
    if [[ "$tag" != - ]]; then
        docker tag "$uri" "$tag"
    fi
    size="$(docker image inspect --format '{{.Size}}' "$uri")"
    report="$report${report:+,}$(json_string "$uri"):$size"
done <"$state/images.tsv"
if [[ -n "$START" && ! -e "$state/former-images-removed" ]]; then
    remove_former
    : >"$state/former-images-removed"
fi
rm -f "$log"
result "{\"image_bytes\":{$report}}"
