#!/bin/bash
# One worker of 45-fetch-models.sh, which gives it a line of models.tsv:
#   look MODEL   is it right already? Otherwise how big is it, and does its server give parts?
#   part "FIRST LAST NUMBER TOTAL MODEL"   fetch this part of it; with the last of its parts comes the check
#   whole MODEL  fetch it anew in one piece
# MODEL_RECORDS has, by model: ID (right: SHA-256, bytes, destination, identity), ID.plan, ID.part.N (bytes so far).
. "$(dirname "$0")/lib.sh"

attempts="${MODEL_ATTEMPTS:-6}"
records="$MODEL_RECORDS"

use_model() {
    IFS=$'\t' read -r kind url destination sha256 bytes etag region <<<"$1"
    target="$root$destination"
    part="$(dirname "$target")/.$(basename "$target").baked-ami-part"
    shown="${url%%\?*}"
    id="$(printf '%s' "$target" | sha256sum | cut -c 1-32)"
    identity="$(printf '%s %s %s' "$url" "$etag" "$bytes" | sha256sum | cut -c 1-32)"
    own="$records/$id"
}

# end KIND MESSAGE: a failure that another attempt would not change; no further part is begun.
end() {
    printf 'baked-ami-failure: %s: %s: %s\n' "$1" "$destination" "$2"
    exit 255
}

is_right() {
    local wanted="$sha256" known_sha known_identity
    [[ -f "$target" ]] || return 1
    if [[ "$bytes" != - && "$(stat -c %s "$target")" != "$bytes" ]]; then return 1; fi
    if [[ "$wanted" == - ]]; then
        # Only this builder's own record can say that the bytes are those of the object asked for.
        [[ -f "$own" ]] || return 1
        { IFS=$'\t' read -r known_sha _ _ known_identity <"$own"; } || true
        [[ "$known_identity" == "$identity" ]] || return 1
        wanted="$known_sha"
    fi
    got="$(sha256sum <"$target" | cut -d ' ' -f 1)"
    [[ "$got" == "$wanted" ]]
}

record() { printf '%s\t%s\t%s\t%s\n' "$1" "$(stat -c %s "$target")" "$destination" "$identity" >"$own"; }

# request RANGE: one GET of these bytes to standard output. Its headers and errors are kept for the others below.
request() {
    local arguments=(-sS --fail --connect-timeout 15 --speed-limit 1000 --speed-time 60 --range "$1" --dump-header "$notes.headers")
    : >"$notes.headers"
    if [[ "$kind" == s3 ]]; then
        if [[ "$etag" != - ]]; then arguments+=(-H "If-Match: \"$etag\""); fi
        # The hash of an empty body: what every signed GET sends.
        arguments+=(-H 'x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
        signed_curl s3 "$region" "${arguments[@]}" "$url" 2>"$notes.err"
    else
        curl --location --proto-redir '=http,https' "${arguments[@]}" "$url" 2>"$notes.err"
    fi
}

# The header's value in the last answer, after any redirects; "status" for its code.
header() {
    if [[ "$1" == status ]]; then
        sed -n 's/^HTTP\/[0-9.]* \([0-9]*\).*/\1/p' "$notes.headers" | tail -n 1
    else
        sed -n "s/^$1: *\(.*[^[:space:]]\)[[:space:]]*$/\1/Ip" "$notes.headers" | tail -n 1
    fi
}

# S3's own code for a refusal, which stands in the body of its answer.
ask_why() {
    [[ "$kind" == s3 ]] || return 0
    { signed_curl s3 "$region" -sS --max-time 20 --range 0-0 "$url" 2>/dev/null || true; } |
        head -c 2000 | sed -n 's:.*<Code>\([A-Za-z]*\)</Code>.*:\1:p' | head -n 1
}

# Ends the worker for what another attempt would not change; returns 1 where one is to be made at once.
judge() {
    local code="$1" status="$2" moved
    moved="$(header x-amz-bucket-region)"
    if [[ "$kind" == s3 && -n "$moved" && "$moved" != "$region" ]]; then
        say "$destination: its bucket is in $moved"
        url="${url/s3.$region./s3.$moved.}"
        region="$moved"
        return 1
    fi
    case "$status" in
        401) end model-denied "$shown answers 401" ;;
        403)
            reason="$(ask_why)"
            case "$reason" in
                RequestTimeTooSkewed | RequestExpired)
                    end clock-skew "$shown refuses the signature of $(date -u +%FT%TZ): $reason" ;;
            esac
            end model-denied "$shown answers 403${reason:+ $reason}" ;;
        404 | 410) end model-missing "$shown answers $status" ;;
        412) end model-changed "$shown is no longer the object that was resolved" ;;
    esac
    if grep -q 'No space left on device' "$notes.dd" 2>/dev/null; then
        end disk-full "writing failed with $(free_bytes "$(dirname "$part")") bytes free"
    fi
    ((code != 0)) || return 0
    if ((attempt >= attempts)); then
        if [[ -z "$status" ]]; then end model-unreachable "$shown: $(tail -c 300 "$notes.err")"; fi
        end model-truncated "$shown broke off $attempts times (curl exit $code, HTTP $status)"
    fi
    say "$destination: attempt $attempt of $attempts ended with curl exit $code, HTTP ${status:-none}; goes on"
    sleep $((${MODEL_PAUSE:-1} * (attempt < 5 ? attempt : 5)))
    attempt=$((attempt + 1))
}

look() {
    local code status size=- ranges=yes
    if is_right; then
        record "$got"
        say "$destination is right already"
        return
    fi
    rm -f "$own"
    mkdir -p "$(dirname "$target")"
    if [[ "$kind" == s3 ]]; then
        size="$bytes"
    else
        attempt=1
        notes="$own.look"
        while true; do
            code=0
            request 0-0 | head -c 1 >/dev/null || code="${PIPESTATUS[0]}"
            status="$(header status)"
            # A server without ranges begins to send all of it, which is not read.
            if [[ "$status" == 2* || "$status" == 416 ]]; then break; fi
            judge "${code/#0/1}" "$status" || true
        done
        size="$(header content-range)"
        if [[ "$status" == 206 && "$size" =~ /([0-9]+)$ ]]; then
            size="${BASH_REMATCH[1]}"
        else
            size="$(header content-length)"
            ranges=no
            if [[ ! "$size" =~ ^[0-9]+$ || "$status" == 416 ]]; then size=-; fi
        fi
        rm -f "$notes".*
    fi
    if [[ "$(cat "$own.begun" 2>/dev/null)" != "$identity $size" ]]; then
        rm -f "$part" "$own".part.* # a rest of something else
    fi
    printf '%s %s\n' "$size" "$ranges" >"$own.plan"
    printf '%s %s\n' "$identity" "$size" >"$own.begun"
    if [[ "$size" == - || "$ranges" == no ]]; then rm -f "$part" "$own".part.*; fi
    : >>"$part"
}

# fetch FIRST LAST NUMBER: this range (LAST is - for "to the end") into its place in the temporary file.
fetch() {
    local first="$1" last="$2" number="$3" size ranges have code status count codes
    notes="$own.part.$number"
    read -r size ranges <"$own.plan"
    if [[ "$last" == - && "$size" != - ]]; then last=$((size - 1)); fi
    have="$(cat "$notes" 2>/dev/null || echo 0)"
    attempt=1
    while [[ "$last" == - ]] || ((first + have <= last)); do
        if [[ "$kind" == s3 ]]; then read_role_credentials; fi
        count=() code=0
        if [[ "$last" != - ]]; then count=(count=$((last - first - have + 1))); fi
        set +e
        request "$((first + have))-${last#-}" | LC_ALL=C dd of="$part" bs=1M seek=$((first + have)) \
            "${count[@]+"${count[@]}"}" iflag=fullblock,count_bytes oflag=seek_bytes conv=notrunc 2>"$notes.dd"
        codes=("${PIPESTATUS[@]}")
        set -e
        code="${codes[0]}" status="$(header status)"
        if [[ "${codes[1]}" != 0 && "$code" == 0 ]]; then code=23; fi
        case "$status" in
            206) have=$((have + $(sed -n 's/^\([0-9]*\) bytes.*/\1/p' "$notes.dd"))) ;;
            200) # all of it, from its first byte
                if ((first > 0)); then return 1; fi
                if ((have == 0)); then
                    have="$(sed -n 's/^\([0-9]*\) bytes.*/\1/p' "$notes.dd")"
                    if ((code != 0)) && [[ "$ranges" == no ]]; then have=0; fi
                else
                    have=0 code=33
                fi ;;
            416)
                if [[ "$last" != - && "$last" != -1 ]]; then
                    end model-truncated "$((first + have)) bytes came, $size were announced ($shown)"
                fi
                code=0 ;;
            3*) code=22 ;; # S3 sends elsewhere with a page, not the file
        esac
        printf '%s\n' "$have" >"$notes"
        if ((code == 0)) && [[ "$last" == - ]]; then break; fi
        if [[ "$last" != - ]] && ((first + have > last)); then break; fi
        judge "${code/#0/18}" "$status" || true
    done
    printf '%s\n' "$have" >"$notes"
    rm -f "$notes".*
    : >"$own.done.$number"
}

# The SHA-256 of the temporary file, read as its parts come in. FIRST BYTES of each part, in order, on standard input.
checksum() {
    local number=0 from length
    while read -r from length; do
        until [[ -f "$own.done.$number" ]]; do
            [[ ! -f "$records/stop" ]] || return 1
            sleep 0.1
        done
        tail -c "+$((from + 1))" "$part" | head -c "$length" || true
        number=$((number + 1))
    done | sha256sum | cut -d ' ' -f 1
}

# finish SHA256: give the file its name if it is what was asked for.
finish() {
    local got="$1" size
    size="$(stat -c %s "$part")"
    if [[ "$bytes" != - && "$size" != "$bytes" ]]; then
        refuse model-truncated "$size bytes came, $bytes were announced ($shown)"
    elif [[ "$sha256" != - && "$got" != "$sha256" ]]; then
        refuse model-checksum "SHA-256 is $got, $sha256 was asked for ($shown)"
    else
        chmod 0644 "$part"
        mv -f "$part" "$target"
        record "$got"
        say "$destination: $size bytes"
    fi
}

# A resumed file whose source changed in between is worth one clean try.
refuse() {
    rm -f "$part" "$own".part.* "$own".done.* "$own.begun"
    if [[ "${MODEL_LAST_TRY:-no}" == yes ]]; then end "$1" "$2"; fi
    say "$destination: not what was asked for; once more from the start"
}

action="$1"
case "$action" in
    look)
        use_model "$2"
        look ;;
    part)
        IFS=$'\t' read -r first last number total model <<<"$2"
        use_model "$model"
        if ((total == 1)); then
            fetch 0 - 0
            finish "$(sha256sum <"$part" | cut -d ' ' -f 1)"
        else
            if ((number == 0)); then
                # The checksum is made beside the transfers, by a process that outlives this one.
                : >"$own.checking"
                (
                    trap 'rm -f "$own.checking"' EXIT
                    size="$(cut -d ' ' -f 1 "$own.plan")"
                    step=$((last + 1))
                    got="$(for ((at = 0; at < size; at += step)); do echo "$at $step"; done | checksum)" || exit 0
                    finish "$got"
                ) &
            fi
            fetch "$first" "$last" "$number" || say "$destination: its server does not give parts"
        fi ;;
    whole)
        use_model "$2"
        rm -f "$own".part.* "$own".done.* "$own.begun" "$part"
        look
        fetch 0 - 0 || true
        finish "$(sha256sum <"$part" | cut -d ' ' -f 1)" ;;
esac
