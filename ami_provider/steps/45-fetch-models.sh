#!/bin/bash
# Fetch every model, MODEL_WORKERS at a time, check its SHA-256, and only then give it its name.
# models.tsv has a model a line: kind (s3 or http), URL, destination, SHA-256 or -, bytes or -, ETag or -,
# S3 region or -. A model that is right already is left alone; a broken transfer goes on where it stopped.
. "$(dirname "$0")/lib.sh"

attempts="${MODEL_ATTEMPTS:-6}"
records="$state/models"

# What this run found out about one model: "sha256 <tab> bytes <tab> destination", in memory.
record_file() { printf '%s/%s' "$records" "$(printf '%s' "$1" | sha256sum | cut -c 1-32)"; }

identity_of() { printf '%s %s %s' "$1" "$2" "$3" | sha256sum | cut -c 1-32; }

is_right() {
    local target="$1" sha256="$2" bytes="$3" identity="$4" record known_identity known_sha
    [[ -f "$target" ]] || return 1
    if [[ "$bytes" != - && "$(stat -c %s "$target")" != "$bytes" ]]; then return 1; fi
    record="$(record_file "$target")"
    if [[ "$sha256" == - ]]; then
        # Only this builder's own record can say that the bytes are those of the object asked for.
        [[ -f "$record" ]] || return 1
        { IFS=$'\t' read -r known_sha _ _ known_identity <"$record"; } || true
        [[ "$known_identity" == "$identity" ]] || return 1
        sha256="$known_sha"
    fi
    [[ "$(sha256sum <"$target" | cut -d ' ' -f 1)" == "$sha256" ]]
}

# transfer KIND URL PART ETAG REGION: one attempt, from where the last one stopped. Sets http_status.
transfer() {
    local kind="$1" url="$2" part="$3" etag="$4" region="$5" headers code=0
    headers="$part_state.headers"
    local arguments=(-sS --fail --connect-timeout 15 --speed-limit 1000 --speed-time 60
        --continue-at - --output "$part" --dump-header "$headers" -w '%{http_code}')
    if [[ "$kind" == s3 ]]; then
        if [[ "$etag" != - ]]; then arguments+=(-H "If-Match: \"$etag\""); fi
        # The hash of an empty body: what every signed GET sends.
        arguments+=(-H 'x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
        read_role_credentials
        http_status="$(signed_curl s3 "$region" "${arguments[@]}" "$url" 2>"$part_state.err")" || code=$?
    else
        http_status="$(curl --location --proto-redir '=http,https' "${arguments[@]}" "$url" 2>"$part_state.err")" || code=$?
    fi
    http_status="${http_status:-000}"
    if [[ "$code" == 0 && "$http_status" == 3* ]]; then # S3 sends elsewhere with a page, not the file
        rm -f "$part"
        code=22
    fi
    return "$code"
}

# Where S3 says that a bucket is, when it was asked for in another region.
bucket_region() {
    sed -n 's/^x-amz-bucket-region: *\([a-z0-9-]*\).*/\1/Ip' "$part_state.headers" 2>/dev/null | tail -n 1
}

# Ends the worker for what another attempt would not change.
give_up_if_final() {
    local code="$1" destination="$2" url="$3" text
    text="${url%%\?*}"
    case "$http_status" in
        401) fail model-denied "$destination: $text answers 401" ;;
        403)
            if grep -qi 'RequestTimeTooSkewed\|RequestExpired' "$part_state.headers" 2>/dev/null; then
                fail clock-skew "$destination: $text refuses the signature of $(date -u +%FT%TZ)"
            fi
            fail model-denied "$destination: $text answers 403" ;;
        404 | 410) fail model-missing "$destination: $text answers $http_status" ;;
        412) fail model-changed "$destination: $text is no longer the object that was resolved" ;;
    esac
    if [[ "$code" == 23 ]]; then
        fail disk-full "$destination: writing failed with $(free_bytes "$(dirname "$root$destination")") bytes free"
    fi
}

fetch() {
    local kind="$1" url="$2" destination="$3" sha256="$4" bytes="$5" etag="$6" region="$7"
    local target="$root$destination" part attempt code got size moved restarts=0
    local identity
    identity="$(identity_of "$url" "$etag" "$bytes")"
    if is_right "$target" "$sha256" "$bytes" "$identity"; then
        got="$(sha256sum <"$target" | cut -d ' ' -f 1)"
        say "$destination is right already"
    else
        mkdir -p "$(dirname "$target")"
        part="$(dirname "$target")/.$(basename "$target").baked-ami-part"
        part_state="$(record_file "$target")"
        attempt=1
        while true; do
            code=0
            if [[ "$bytes" != - && -f "$part" && "$(stat -c %s "$part")" == "$bytes" ]]; then
                http_status=200 # it was whole when the last attempt was lost
            else
                transfer "$kind" "$url" "$part" "$etag" "$region" || code=$?
            fi
            if [[ "$http_status" == 416 ]]; then code=0; fi # nothing is left to send
            if [[ "$code" == 0 ]]; then
                [[ -f "$part" ]] || : >"$part" # an empty object writes no file
                got="$(sha256sum <"$part" | cut -d ' ' -f 1)"
                size="$(stat -c %s "$part")"
                if [[ "$bytes" != - && "$size" != "$bytes" ]]; then
                    rm -f "$part"
                    [[ "$restarts" == 0 ]] ||
                        fail model-truncated "$destination: $size bytes came, $bytes were announced (${url%%\?*})"
                    restarts=1
                elif [[ "$sha256" != - && "$got" != "$sha256" ]]; then
                    rm -f "$part"
                    [[ "$restarts" == 0 ]] ||
                        fail model-checksum "$destination: SHA-256 is $got, $sha256 was asked for (${url%%\?*})"
                    restarts=1 # a resumed file whose source changed in between is worth one clean try
                else
                    break
                fi
                say "$destination: not what was asked for; once more from the start"
                continue
            fi
            moved="$(bucket_region)"
            if [[ "$kind" == s3 && -n "$moved" && "$moved" != "$region" ]]; then
                say "$destination: its bucket is in $moved"
                url="${url/s3.$region./s3.$moved.}"
                region="$moved"
                continue
            fi
            if [[ "$code" == 33 ]]; then rm -f "$part"; fi # this server cannot go on in the middle
            give_up_if_final "$code" "$destination" "$url"
            if ((attempt >= attempts)); then
                if [[ "$http_status" == 000 ]]; then
                    fail model-unreachable "$destination: ${url%%\?*}: $(tail -c 300 "$part_state.err")"
                fi
                fail model-truncated "$destination: ${url%%\?*} broke off $attempts times (curl exit $code, HTTP $http_status)"
            fi
            say "$destination: attempt $attempt of $attempts ended with curl exit $code, HTTP $http_status; goes on"
            sleep $((${MODEL_PAUSE:-1} * (attempt < 5 ? attempt : 5)))
            attempt=$((attempt + 1))
        done
        chmod 0644 "$part"
        mv -f "$part" "$target"
        say "$destination: $(stat -c %s "$target") bytes"
    fi
    printf '%s\t%s\t%s\t%s\n' "$got" "$(stat -c %s "$target")" "$destination" "$identity" \
        >"$(record_file "$target")"
}

if [[ "${1:-}" == one ]]; then
    IFS=$'\t' read -r -a model <<<"$2"
    fetch "${model[@]}"
    exit 0
fi

[[ -s "$state/models.tsv" ]] || {
    say "this recipe has no models"
    result '{"models":{}}'
    exit 0
}
mkdir -p "$records"
find "$records" -type f \( -name '*.err' -o -name '*.headers' \) -delete

# Room first: a disk that fills up at the end wastes the whole transfer.
needed=0
first=""
while IFS=$'\t' read -r _ _ destination _ bytes _; do
    first="${first:-$root$destination}"
    part="$(dirname "$root$destination")/.$(basename "$destination").baked-ami-part"
    if [[ "$bytes" != - ]]; then
        have=0
        if [[ -f "$root$destination" ]]; then
            have="$(stat -c %s "$root$destination")"
        elif [[ -f "$part" ]]; then
            have="$(stat -c %s "$part")"
        fi
        if ((bytes > have)); then needed=$((needed + bytes - have)); fi
    fi
done <"$state/models.tsv"
available="$(free_bytes "$(dirname "$first")")"
if ((needed > available)); then
    fail disk-full "the models need $needed more bytes, $available are free"
fi

tr '\n' '\0' <"$state/models.tsv" |
    xargs -0 -P "${MODEL_WORKERS:-8}" -n 1 bash "$0" one || exit 70

report=""
: >"$state/models.fetched"
while IFS=$'\t' read -r _ _ destination _; do
    IFS=$'\t' read -r sha256 _ <"$(record_file "$root$destination")"
    printf '%s  %s\n' "$sha256" "$destination" >>"$state/models.fetched"
    report="$report${report:+,}$(json_string "$destination"):\"$sha256\""
done <"$state/models.tsv"
result "{\"models\":{$report}}"
