#!/bin/bash
# On a machine of an earlier AMI: take away what that AMI's recipe left and this one does not name, so that the
# steps that follow meet the base AMI's disk, with what stays on it. Runs once: what they put there is not former.
# The former images go after the pull (40-pull-images), because the new ones share layers with them.
. "$(dirname "$0")/lib.sh"

folder="$root/etc/baked-ami"
done="$state/former-removed"

if [[ -z "$START" || -e "$done" ]]; then
    say "nothing to remove"
    exit 0
fi
if [[ ! -f "$base/images" || ! -f "$base/files" ]]; then
    fail former-left "$START does not say what its base AMI had"
fi

# remove_models: those that are not asked for, or are something else now. Of those that stay, what the earlier
# bake knew of their bytes is what 45-fetch-models would know itself.
remove_models() {
    local sha256 bytes destination identity number
    declare -A numbers=()
    number=0
    while IFS=$'\t' read -r _ _ destination _; do
        numbers["$destination"]="$number"
        number=$((number + 1))
    done <"$state/models.tsv"
    mkdir -p "$state/models"
    while IFS=$'\t' read -r sha256 bytes destination identity; do
        number="${numbers["$destination"]:-}"
        if [[ -z "$number" ]]; then
            rm -f "$root$destination"
            say "removed $destination"
        else
            printf '%s\t%s\t%s\t%s\n' "$sha256" "$bytes" "$destination" "$identity" >"$state/models/$number"
        fi
    done <"$folder/models.tsv"
}

# Of the folders that were made for models, those that are empty now go too, the deepest first.
remove_folders() {
    local made
    LC_ALL=C sort -r "$folder/folders" | while IFS= read -r made; do
        if [[ -d "$root$made" ]] && ! rmdir "$root$made" 2>/dev/null; then printf '%s\n' "$made"; fi
    done >"$state/folders.made"
}

# Journals and agent's records that only the machines of earlier bakes can have written.
remove_machines() {
    local own path token
    own="$(cat "$root/etc/machine-id" 2>/dev/null)" || own=""
    for path in "$root"/var/log/journal/*; do
        if [[ -n "$own" && -d "$path" && "${path##*/}" != "$own" ]]; then rm -rf "$path"; fi
    done
    token="$(curl -sS -f --noproxy '*' --connect-timeout 5 --retry 3 -X PUT \
        -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/latest/api/token")" || token=""
    own="$(imds_get "$token" latest/meta-data/instance-id)" || own=""
    for path in "$root"/var/lib/amazon/ssm/i-*; do
        if [[ -n "$own" && -d "$path" && "${path##*/}" != "$own" ]]; then rm -rf "$path"; fi
    done
}

if [[ -f "$folder/models.tsv" ]]; then remove_models; fi
if [[ -f "$folder/folders" ]]; then remove_folders; fi
if [[ -f "$base/ecs.config" ]]; then
    write_if_changed "$root/etc/ecs/ecs.config" <"$base/ecs.config"
else
    rm -f "$root/etc/ecs/ecs.config"
fi
remove_machines
rm -f "$folder"/manifest.json "$folder"/models.sha256 "$folder"/layers.sha256 "$folder"/folders "$folder"/models.tsv
: >"$done"
say "what is left is the base AMI's, or stays"
