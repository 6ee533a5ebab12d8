#!/bin/bash
# Fetch every model, MODEL_WORKERS connections at a time, check its SHA-256, and only then give it its name.
# models.tsv has a model a line: kind (s3 or http), URL, destination, SHA-256 or -, bytes or -, ETag or -,
# S3 region or -. A model that is right already is left alone; big ones come in parts beside each other,
# and a broken transfer goes on where it stopped. fetch-model.sh is one worker's part of this.
. "$(dirname "$0")/lib.sh"

worker="$(dirname "$0")/fetch-model.sh"
export MODEL_RECORDS="$state/models"
workers="${MODEL_WORKERS:-8}"
smallest="${MODEL_PART_BYTES:-$((16 << 20))}"
largest=$((smallest << 4))

id_of() { printf '%s' "$root$1" | sha256sum | cut -c 1-32; }

# in_parallel ACTION FILE: the worker's action for each line of the file; the first failure ends the step.
in_parallel() {
    if ! tr '\n' '\0' <"$2" | xargs -0 -r -P "$workers" -n 1 bash "$worker" "$1"; then
        : >"$MODEL_RECORDS/stop" # for the checksums that wait for parts
        exit 70
    fi
}

# What is not right yet needs this many bytes more than it has, on the file system it goes to.
check_room() {
    local destination id size ranges have needed=0 folder="" available
    while IFS=$'\t' read -r _ _ destination _; do
        id="$(id_of "$destination")"
        [[ -f "$MODEL_RECORDS/$id.plan" ]] || continue
        read -r size ranges <"$MODEL_RECORDS/$id.plan"
        [[ "$size" != - ]] || continue
        folder="$(dirname "$root$destination")"
        have="$({ du -B1 "$root$destination" "$folder/.$(basename "$destination").baked-ami-part" 2>/dev/null || true; } |
            awk '{sum += $1} END {print sum + 0}')"
        needed=$((needed + (size > have ? size - have : 0)))
    done <"$state/models.tsv"
    [[ -n "$folder" ]] || return 0
    available="$(free_bytes "$folder")"
    ((needed <= available)) || fail disk-full "the models need $needed more bytes, $available are free"
}

# The ranges to fetch, "first last number total model" a line, of the biggest models first.
list_parts() {
    local line destination id size ranges step parts number
    while IFS= read -r line; do
        destination="$(cut -f 3 <<<"$line")"
        id="$(id_of "$destination")"
        [[ -f "$MODEL_RECORDS/$id.plan" ]] || continue
        read -r size ranges <"$MODEL_RECORDS/$id.plan"
        parts=1
        if [[ "$size" != - && "$ranges" == yes ]]; then
            step=$((size / workers + 1))
            step=$((step < smallest ? smallest : step > largest ? largest : step))
            parts=$((size == 0 ? 1 : (size + step - 1) / step))
        fi
        if ((parts == 1)); then
            if [[ "$size" == - ]]; then size=0; fi
            printf '%s\t0\t-\t0\t1\t%s\n' "$size" "$line"
        else
            for ((number = 0; number < parts; number++)); do
                printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$size" $((number * step)) \
                    $((number == parts - 1 ? size - 1 : number * step + step - 1)) "$number" "$parts" "$line"
            done
        fi
    done <"$state/models.tsv" | sort -s -t $'\t' -k 1,1nr | cut -f 2-
}

# Those whose bytes did not come to what was asked for: once more, from the start and in one piece.
list_unfinished() {
    local line
    while IFS= read -r line; do
        if [[ ! -f "$MODEL_RECORDS/$(id_of "$(cut -f 3 <<<"$line")")" ]]; then printf '%s\n' "$line"; fi
    done <"$state/models.tsv"
}

wait_for_checksums() {
    while [[ -n "$(find "$MODEL_RECORDS" -name '*.checking' -print -quit)" ]]; do sleep 0.1; done
}

[[ -s "$state/models.tsv" ]] || {
    say "this recipe has no models"
    result '{"models":{}}'
    exit 0
}
mkdir -p "$MODEL_RECORDS"
find "$MODEL_RECORDS" -type f \( -name stop -o -name '*.plan' -o -name '*.checking' -o -name '*.done.*' -o -name '*.err' -o -name '*.headers' \) -delete

in_parallel look "$state/models.tsv"
check_room
list_parts >"$MODEL_RECORDS/parts"
in_parallel part "$MODEL_RECORDS/parts"
wait_for_checksums
list_unfinished >"$MODEL_RECORDS/again"
if [[ -s "$MODEL_RECORDS/again" ]]; then
    MODEL_LAST_TRY=yes in_parallel whole "$MODEL_RECORDS/again"
fi

report=""
: >"$state/models.fetched"
while IFS=$'\t' read -r _ _ destination _; do
    IFS=$'\t' read -r sha256 _ <"$MODEL_RECORDS/$(id_of "$destination")"
    printf '%s  %s\n' "$sha256" "$destination" >>"$state/models.fetched"
    report="$report${report:+,}$(json_string "$destination"):\"$sha256\""
done <"$state/models.tsv"
result "{\"models\":{$report}}"
