# shellcheck shell=bash
# One model's part of 45-fetch-models.sh, which has it in `models`, a line of models.tsv, under its number:
#   look N           is it right already? Otherwise how big is it, and does its server give parts?
#   fetch_part "N FIRST LAST PART PARTS"   this part of it; beside its parts, or after the only one, its check
#   fetch_whole N    it all anew, in one piece
# $records has, by number: N (it is right: SHA-256, bytes, destination, identity), N.plan (bytes, whether parts),
# N.part.P (bytes of this part so far), N.done.P, N.checking.

# shellcheck disable=SC2154 # root, records, models, workers, smallest and largest are set by who uses this

attempts="${MODEL_ATTEMPTS:-6}"
last_try=no
credentials_at=-1000

use_model() {
    IFS=$'\t' read -r kind url destination sha256 bytes etag region <<<"${models[$1]}"
    target="$root$destination"
    part="${target%/*}/.${target##*/}.baked-ami-part"
    shown="${url%%\?*}"
    identity="$url $etag $bytes $destination"
    own="$records/$1"
}

# end KIND MESSAGE: a failure that another attempt would not change; no further part is begun.
end() {
    : >"$records/stop"
    fail "$1" "$destination: $2"
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
    read -r got _ < <(sha256sum <"$target")
    [[ "$got" == "$wanted" ]]
}

# split SIZE: a file's parts, "first last" a line. They get smaller towards the end, so that all connections end
# together, and little is left to be checked when the last byte has come; they are big before, for few requests.
split() {
    local size="$1" first=0 step
    while ((first < size)); do
        step=$(((size - first) / (workers * 2)))
        step=$((step < smallest ? smallest : step > largest ? largest : step))
        if ((size - first - step < smallest / 2)); then step=$((size - first)); fi
        printf '%s %s\n' "$first" $((first + step - 1))
        first=$((first + step))
    done
}

record() { printf '%s\t%s\t%s\t%s\n' "$1" "$(stat -c %s "$target")" "$destination" "$identity" >"$own"; }

# Credentials for S3, read anew every five minutes.
sign_in() {
    if [[ "$kind" == s3 ]] && ((SECONDS - credentials_at > 300)); then
        read_role_credentials
        credentials_at=$SECONDS
    fi
}

# request RANGE: one GET of these bytes to standard output. Its headers and errors are kept for the others below.
request() {
    # An address is taken as it is: brackets name no series of files, dots no folder above.
    local arguments=(-sS --fail --globoff --path-as-is --connect-timeout 15 --speed-limit 1000 --speed-time 60 --range "$1" --dump-header "$notes.headers")
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

# read_answer: sets status, and size_told (Content-Range or -Length) and moved (a bucket's region), of the last
# answer after any redirects.
read_answer() {
    local line
    status="" size_told="" moved=""
    while IFS= read -r line; do
        line="${line%$'\r'}"
        case "${line,,}" in
            http/*)
                read -r _ status _ <<<"$line"
                size_told="" moved="" ;;
            content-range:*) size_told="${line##*/}" ;;
            content-length:*) if [[ "$status" != 206 ]]; then size_told="${line##* }"; fi ;;
            x-amz-bucket-region:*) moved="${line##* }" ;;
        esac
    done <"$notes.headers"
}

# copied FILE: the bytes that dd says it wrote.
copied() {
    local count unit
    while read -r count unit _; do
        if [[ "$unit" == bytes || "$unit" == byte ]]; then
            printf '%s' "$count"
            return
        fi
    done <"$1"
    printf 0
}

# S3's own code for a refusal, which stands in the body of its answer.
ask_why() {
    [[ "$kind" == s3 ]] || return 0
    { signed_curl s3 "$region" -sS --globoff --path-as-is --max-time 20 --range 0-0 "$url" 2>/dev/null || true; } |
        head -c 2000 | sed -n 's:.*<Code>\([A-Za-z]*\)</Code>.*:\1:p' | head -n 1
}

# Ends the worker for what another attempt would not change; returns 1 where one is to be made at once.
judge() {
    local code="$1"
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
    local code size=- ranges=yes begun
    use_model "$1"
    if is_right; then
        record "$got"
        say "$destination is right already"
        return
    fi
    rm -f "$own"
    [[ -d "${target%/*}" ]] || mkdir -p "${target%/*}"
    if [[ "$kind" == s3 ]]; then
        size="$bytes"
    else
        attempt=1
        notes="$own.look"
        while true; do
            code=0
            request 0-0 | head -c 1 >/dev/null || code="${PIPESTATUS[0]}"
            read_answer
            # A server without ranges begins to send all of it, which is not read.
            if [[ "$status" == 2* || "$status" == 416 ]]; then break; fi
            judge "${code/#0/1}" || true
        done
        if [[ "$status" != 206 ]]; then ranges=no; fi
        if [[ "$status" != 416 && "$size_told" =~ ^[0-9]+$ ]]; then size="$size_told"; fi
    fi
    begun="$identity $size $workers $smallest" # the parts follow from these
    if [[ "$ranges" == no || "$size" == - || ! -f "$own.begun" || "$(<"$own.begun")" != "$begun" ]]; then
        rm -f "$part" "$own".part.* # of something else, or of no use
    fi
    : >>"$part"
    printf '%s %s\n' "$size" "$ranges" >"$own.plan"
    printf '%s\n' "$begun" >"$own.begun"
}

# fetch FIRST LAST NUMBER: this range (LAST is - for "to the end") into its place in the temporary file.
fetch() {
    local first="$1" last="$2" number="$3" size ranges have=0 code count codes
    notes="$own.part.$number"
    read -r size ranges <"$own.plan"
    if [[ "$last" == - && "$size" != - ]]; then last=$((size - 1)); fi
    if [[ -s "$notes" ]]; then read -r have <"$notes"; fi
    attempt=1
    while [[ "$last" == - ]] || ((first + have <= last)); do
        sign_in
        count=() code=0
        if [[ "$last" != - ]]; then count=(count=$((last - first - have + 1))); fi
        set +e
        request "$((first + have))-${last#-}" | LC_ALL=C dd of="$part" bs=1M seek=$((first + have)) \
            "${count[@]+"${count[@]}"}" iflag=fullblock,count_bytes oflag=seek_bytes conv=notrunc 2>"$notes.dd"
        codes=("${PIPESTATUS[@]}")
        set -e
        code="${codes[0]}"
        read_answer
        if [[ "${codes[1]}" != 0 && "$code" == 0 ]]; then code=23; fi
        case "$status" in
            206) have=$((have + $(copied "$notes.dd"))) ;;
            200) # all of it, from its first byte
                if ((first > 0)); then return 1; fi
                if ((have == 0)); then
                    have="$(copied "$notes.dd")"
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
        judge "${code/#0/18}" || true
    done
    printf '%s\n' "$have" >"$notes"
    : >"$own.done.$number"
}

# The SHA-256 of the temporary file, read as its parts come in. FIRST LAST of each part, in order, on standard input.
checksum() {
    local number=0 first last
    while read -r first last; do
        until [[ -f "$own.done.$number" ]]; do
            [[ ! -f "$records/stop" ]] || return 1
            sleep 0.1
        done
        tail -c "+$((first + 1))" "$part" | head -c $((last - first + 1)) || true
        number=$((number + 1))
    done | sha256sum
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
    if [[ "$last_try" == yes ]]; then end "$1" "$2"; fi
    say "$destination: not what was asked for; once more from the start"
}

fetch_part() {
    local number first last at parts got size
    read -r number first last at parts <<<"$1"
    use_model "$number"
    if ((parts == 1)); then
        fetch 0 - 0
        read -r got _ < <(sha256sum <"$part")
        finish "$got"
        return
    fi
    if ((at == 0)); then
        # The checksum is made beside the transfers, by a process that outlives this one.
        : >"$own.checking"
        (
            trap 'rm -f "$own.checking"' EXIT
            read -r size _ <"$own.plan"
            got="$(split "$size" | checksum)" || exit 0
            finish "${got%% *}"
        ) &
    fi
    if ! fetch "$first" "$last" "$at"; then
        say "$destination: its server does not give parts"
        : >"$own.done.$at" # the check finds that it is not right, and all of it is fetched anew
    fi
}

fetch_whole() {
    local got
    use_model "$1"
    rm -f "$own".part.* "$own".done.* "$own.begun" "$part"
    look "$1"
    fetch 0 - 0 || true
    read -r got _ < <(sha256sum <"$part")
    finish "$got"
}
