#!/bin/bash
# Fetch every model, MODEL_WORKERS connections at a time, check its SHA-256, and only then give it its name.
# models.tsv has a model a line: kind (s3 or http), URL, destination, SHA-256 or -, bytes or -, ETag or -,
# S3 region or -. A model that is right already is left alone; big ones come in parts beside each other,
# and a broken transfer goes on where it stopped. fetch-model.sh has what is done for one model.
. "$(dirname "$0")/lib.sh"
records="$state/models"
. "$(dirname "$0")/fetch-model.sh"

workers="${MODEL_WORKERS:-8}"
smallest="${MODEL_PART_BYTES:-$((16 << 20))}"
largest=$((smallest << 4))

# in_parallel ACTION LINE...: the action for each line, by as many processes as there may be connections.
# One failure ends the step, once the others have ended what they are at.
in_parallel() {
    local action="$1" number pids=() pid failed=""
    shift
    find "$records" -name '*.claim' -delete
    for ((number = 0; number < workers && number < $#; number++)); do
        work "$action" "$@" &
        pids+=("$!")
    done
    for pid in "${pids[@]+"${pids[@]}"}"; do wait "$pid" || failed=yes; done
    if [[ -n "$failed" ]]; then
        : >"$records/stop"
        exit 70
    fi
}

work() {
    local action="$1" number=0 line
    shift
    trap '(($? == 0)) || : >"$records/stop"' EXIT # the checksums that wait for parts see it too
    for line; do
        number=$((number + 1))
        if [[ -f "$records/stop" ]]; then return 0; fi
        set -C # one process makes the file, and the line is its own
        if ! { true >"$records/$number.claim"; } 2>/dev/null; then
            set +C
            continue
        fi
        set +C
        "$action" "$line"
    done
}

# What is not right yet needs this many bytes more than it has, on the file system it goes to.
check_room() {
    local number destination size have folder disk available
    local -A needed=() folders=()
    for number in "${!models[@]}"; do
        [[ -f "$records/$number.plan" ]] || continue
        read -r size _ <"$records/$number.plan"
        [[ "$size" != - ]] || continue
        IFS=$'\t' read -r _ _ destination _ <<<"${models[number]}"
        folder="${root}${destination%/*}"
        disk="$(stat -L -c %d "$folder")"
        have=0
        if [[ -s "$folder/.${destination##*/}.baked-ami-part" ]]; then
            have="$(du -B1 "$folder/.${destination##*/}.baked-ami-part" | cut -f 1)"
        fi
        folders[$disk]="$folder"
        needed[$disk]=$((${needed[$disk]:-0} + (size > have ? size - have : 0)))
    done
    for disk in "${needed[@]+"${!needed[@]}"}"; do
        available="$(free_bytes "${folders[$disk]}")"
        ((needed[$disk] <= available)) ||
            fail disk-full "the models need ${needed[$disk]} more bytes, $available are free"
    done
}

# The parts to fetch, "model first last part parts" a line, those of the biggest models first.
list_parts() {
    local number size ranges part parts
    for number in "${!models[@]}"; do
        [[ -f "$records/$number.plan" ]] || continue
        read -r size ranges <"$records/$number.plan"
        parts=()
        if [[ "$size" != - && "$ranges" == yes ]]; then mapfile -t parts < <(split "$size"); fi
        if ((${#parts[@]} < 2)); then
            printf '%s %s 0 - 0 1\n' "${size/#-/0}" "$number"
        else
            for part in "${!parts[@]}"; do
                printf '%s %s %s %s %s\n' "$size" "$number" "${parts[part]}" "$part" "${#parts[@]}"
            done
        fi
    done | sort -s -k 1,1nr | cut -d ' ' -f 2-
}

# What is in the models' folders on a machine of the base AMI is its own. And the folders that have to be made:
# those, and no others, go with their models in an incremental bake.
note_base() {
    local destination folder
    if [[ -z "$START" && ! -f "$state/base.files" ]]; then
        list_other_files >"$state/base.files.new"
        mv "$state/base.files.new" "$state/base.files"
    fi
    while IFS=$'\t' read -r _ _ destination _; do
        folder="${destination%/*}"
        while [[ -n "$folder" && ! -d "$root$folder" ]]; do
            printf '%s\n' "$folder"
            folder="${folder%/*}"
        done
    done <"$state/models.tsv" >>"$state/folders.made"
}

mapfile -t models <"$state/models.tsv"
if ((${#models[@]} == 0)); then
    say "this recipe has no models"
    result '{"models":{}}'
    exit 0
fi
mkdir -p "$records"
find "$records" -type f \( -name stop -o -name '*.plan' -o -name '*.checking' -o -name '*.done.*' -o -name '*.err' -o -name '*.headers' \) -delete

note_base
in_parallel look "${!models[@]}"
check_room
mapfile -t parts < <(list_parts)
in_parallel fetch_part "${parts[@]+"${parts[@]}"}"
while [[ -n "$(find "$records" -name '*.checking' -print -quit)" ]]; do sleep 0.1; done

# Those whose bytes did not come to what was asked for: once more, from the start and in one piece.
again=()
for number in "${!models[@]}"; do
    if [[ ! -f "$records/$number" ]]; then again+=("$number"); fi
done
last_try=yes
in_parallel fetch_whole "${again[@]+"${again[@]}"}"

report=""
: >"$state/models.fetched"
for number in "${!models[@]}"; do
    IFS=$'\t' read -r sha256 _ destination _ <"$records/$number"
    printf '%s  %s\n' "$sha256" "$destination" >>"$state/models.fetched"
    report="$report${report:+,}$(json_string "$destination"):\"$sha256\""
done
result "{\"models\":{$report}}"
