# shellcheck shell=bash
# What every step shares: where its parameters are, how it says what happened, and AWS without a CLI.
#
# A step is run as `bash NN-name.sh` beside this file. Its parameters are files in $BAKED_AMI_STATE
# (memory, never on the disk that becomes the AMI). BAKED_AMI_ROOT puts every path it changes under
# another root folder, for a dry run by hand.

set -euo pipefail
umask 022

state="${BAKED_AMI_STATE:-/run/baked-ami}"
root="${BAKED_AMI_ROOT:-}"
imds="${BAKED_AMI_IMDS:-http://169.254.169.254}"

# What the image is, and what only this machine is for. The second is not part of what a step's
# outcome depends on, so changing it runs no step again.
for given in "$state/parameters" "${0%/*}/site.parameters"; do
    if [[ -r "$given" ]]; then
        # shellcheck source=/dev/null
        . "$given"
    fi
done

# The earlier AMI that this machine was booted from, in an incremental bake; empty for the base AMI.
START="${START:-}"
# What the base AMI had of its own where a bake puts things: ecs.config, images, files. Seen by the steps of a bake
# that starts from it, written down by 80-manifest, and kept by those that start from an earlier AMI.
base="$root/etc/baked-ami/base"

say() { printf '%s\n' "$*"; }

# last NUMBER TEXT: its last characters, all of it if it is shorter (which ${text: -number} gives nothing of).
last() {
    local number="$1" text="$2"
    if ((${#text} > number)); then text="${text: -number}"; fi
    printf '%s' "$text"
}

# fail KIND MESSAGE: end the step with a failure that the other side knows by its kind.
fail() {
    local kind="$1"
    shift
    printf 'baked-ami-failure: %s: %s\n' "$kind" "$*"
    exit 70
}

# result JSON: what the step wants to tell; kept in memory and read from there.
result() {
    mkdir -p "$state/results"
    printf '%s\n' "$1" >"$state/results/$(basename "$0" .sh).json"
}

json_string() {
    local text="$1"
    text="${text//\\/\\\\}"
    text="${text//\"/\\\"}"
    text="${text//$'\t'/\\t}"
    text="${text//$'\n'/\\n}"
    text="${text//$'\r'/\\r}"
    printf '"%s"' "$text"
}

has() { command -v "$1" >/dev/null 2>&1; }

unit_exists() { systemctl cat "$1" >/dev/null 2>&1; }

# write_if_changed FILE: standard input to FILE, which is left alone when it says the same already.
write_if_changed() {
    local target="$1" mode="${2:-0644}" text
    text="$(cat && printf .)"
    text="${text%.}"
    if [[ -f "$target" ]] && printf '%s' "$text" | cmp -s - "$target"; then
        return 0
    fi
    mkdir -p "$(dirname "$target")"
    printf '%s' "$text" >"$target.baked-ami-new"
    chmod "$mode" "$target.baked-ami-new"
    mv -f "$target.baked-ami-new" "$target"
}

free_bytes() {
    local folder="$1"
    while [[ ! -d "$folder" ]]; do folder="$(dirname "$folder")"; done
    df -B1 --output=avail "$folder" | tail -n 1 | tr -d ' '
}

# json_field NAME: the value of a string field in the JSON on standard input.
json_field() {
    grep -o "\"$1\" *: *\"[^\"]*\"" | head -n 1 | sed 's/^"[^"]*" *: *"//; s/"$//'
}

# read_role_credentials: sets access_key, secret_key and session_token from the metadata service.
# Never traced, never printed, never on a command line.
read_role_credentials() {
    { set +x; } 2>/dev/null
    local token role answer
    token="$(curl -sS -f --noproxy '*' --connect-timeout 5 --retry 3 -X PUT \
        -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")" ||
        fail metadata "the metadata service at $imds gives no token"
    role="$(imds_get "$token" latest/meta-data/iam/security-credentials/ | head -n 1)" || role=""
    [[ -n "$role" ]] ||
        fail no-role "this machine has no instance profile, so it can sign no request to AWS"
    answer="$(imds_get "$token" "latest/meta-data/iam/security-credentials/$role")" ||
        fail no-role "the metadata service gives no credentials for the role $role"
    access_key="$(json_field AccessKeyId <<<"$answer")"
    secret_key="$(json_field SecretAccessKey <<<"$answer")"
    session_token="$(json_field Token <<<"$answer")"
    [[ -n "$access_key" && -n "$secret_key" ]] ||
        fail no-role "the credentials of the role $role are not complete"
}

imds_get() {
    printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$1" |
        curl -sS -f --noproxy '*' --connect-timeout 5 --retry 3 --config - "$imds/$2"
}

# signed_curl SERVICE REGION ARGUMENT...: curl with the role's signature; needs read_role_credentials.
signed_curl() {
    local service="$1" region="$2"
    shift 2
    {
        printf 'user = "%s:%s"\n' "$access_key" "$secret_key"
        printf 'aws-sigv4 = "aws:amz:%s:%s"\n' "$region" "$service"
        if [[ -n "$session_token" ]]; then
            printf 'header = "X-Amz-Security-Token: %s"\n' "$session_token"
        fi
    } | curl --config - "$@"
}

# layers_digest: one SHA-256 over every file of every image layer on this disk (names and bytes).
# Reads it all, several files at a time: that an image is *listed* says nothing about its bytes.
layers_digest() {
    local folder="$root/var/lib/docker/overlay2" containerd="$root/var/lib/containerd"
    {
        if [[ -d "$folder" ]]; then
            # A layer's files are in diff/. Folders of containers (a parent with -init) are not content.
            find "$folder" -mindepth 2 -maxdepth 2 -type d -name diff -print |
                while IFS= read -r diff; do
                    layer="$(basename "$(dirname "$diff")")"
                    if [[ "$layer" != *-init && ! -d "$folder/$layer-init" ]]; then
                        printf '%s\0' "$diff"
                    fi
                done
        fi
        for folder in "$containerd"/io.containerd.snapshotter.v1.overlayfs/snapshots \
            "$containerd"/io.containerd.content.v1.content/blobs; do
            if [[ -d "$folder" ]]; then printf '%s\0' "$folder"; fi
        done
    } | LC_ALL=C sort -z | xargs -0 -r -I '{}' find '{}' -type f -print0 |
        xargs -0 -r -P 16 -n 64 sha256sum --binary | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1
}

# list_images: "ID NAME" for every name of every image that Docker has, and "ID -" for each image.
list_images() {
    local ids id
    ids="$(docker image ls --all --quiet --no-trunc)" || return 1
    sort -u <<<"$ids" | while IFS= read -r id; do
        [[ -n "$id" ]] || continue
        docker image inspect --format '{{range .RepoTags}}{{$.Id}} {{.}}
{{end}}{{range .RepoDigests}}{{$.Id}} {{.}}
{{end}}{{.Id}} -' "$id" || return 1
    done | sed '/^$/d' | LC_ALL=C sort -u
}

# list_other_images: of these lines those that are neither the recipe's nor the base AMI's.
list_other_images() {
    local uri tag id all
    all="$(list_images)" || return 1
    {
        cat "$base/images"
        while IFS=$'\t' read -r uri tag; do
            id="$(docker image inspect --format '{{.Id}}' "$uri" 2>/dev/null)" || continue
            printf '%s %s\n' "$id" "$uri" "$id" "$tag" "$id" -
        done <"$state/images.tsv"
    } | LC_ALL=C sort -u | LC_ALL=C comm -13 - <(printf '%s\n' "$all") | sed '/^$/d'
}

# list_other_files: those in the folders of the models that are no models. A folder of the first level
# (/opt) has too much below it that is somebody else's.
list_other_files() {
    local folder deep
    cut -f 3 "$state/models.tsv" | sed 's|/[^/]*$||' | sort -u | while IFS= read -r folder; do
        [[ -n "$folder" ]] || continue
        deep=()
        if [[ "$folder" != /*/* ]]; then deep=(-maxdepth 1); fi
        if [[ -d "$root$folder" ]]; then
            find "$root$folder" -xdev "${deep[@]+"${deep[@]}"}" -type f \
                -not -name '.*.baked-ami-part' -printf '%p\n'
        fi
    done | sed "s|^$root||" | LC_ALL=C sort -u | LC_ALL=C comm -23 - <(cut -f 3 "$state/models.tsv" | LC_ALL=C sort -u)
}

# merge_settings FILE: its lines, with the recipe's settings (agent.config) in place of those of the same name.
merge_settings() {
    local line name
    if [[ -f "$1" ]]; then
        while IFS= read -r line || [[ -n "$line" ]]; do
            name="${line%%=*}"
            if [[ "$line" == *=* ]] && grep -q "^$name=" "$state/agent.config"; then continue; fi
            printf '%s\n' "$line"
        done <"$1"
    fi
    cat "$state/agent.config"
}
