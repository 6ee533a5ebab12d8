#!/bin/bash
# Put the log of one step, without secrets, below LOG_DESTINATION in S3: bash keep-log.sh STEP
# Says "baked-ami-log: ADDRESS", or why it is not there. Never fails: a log is not the work.
. "$(dirname "$0")/lib.sh"

[[ -n "${LOG_DESTINATION:-}" ]] || exit 0
step="$1"
text="$state/log/$step.sent"
bash "$(dirname "$0")/redact.sh" <"$state/log/$step.log" >"$text"

bucket="${LOG_DESTINATION#s3://}"
key="${bucket#*/}"
bucket="${bucket%%/*}"
key="${key%/}/$LOG_FOLDER/$step.log"
key="${key#/}"
sha256="$(sha256sum <"$text" | cut -d ' ' -f 1)"
region="$LOG_REGION" suffix=""
if [[ "$region" == cn-* ]]; then suffix=.cn; fi

# put REGION: sets status and answer.
put() {
    local host="s3.$1.amazonaws.com$suffix" url
    if [[ "$bucket" == *.* ]]; then url="https://$host/$bucket/$key"; else url="https://$bucket.$host/$key"; fi
    answer="$(signed_curl s3 "$1" -sS --connect-timeout 10 --max-time 60 --retry 2 --upload-file "$text" \
        -H "x-amz-content-sha256: $sha256" -H 'Content-Type: text/plain; charset=utf-8' \
        --dump-header "$text.headers" -w '\n%{http_code}' "$url" 2>&1)" || true
    status="${answer##*$'\n'}"
}

if ! reason="$(read_role_credentials 2>&1)"; then
    say "baked-ami-log: not kept: ${reason##*: }"
    exit 0
fi
read_role_credentials
: >"$text.headers"
put "$region"
moved="$(sed -n 's/^x-amz-bucket-region: *\([a-z0-9-]*\).*/\1/Ip' "$text.headers" 2>/dev/null | tail -n 1)"
if [[ "$status" != 200 && -n "$moved" && "$moved" != "$region" ]]; then put "$moved"; fi
rm -f "$text" "$text.headers"
if [[ "$status" == 200 ]]; then
    say "baked-ami-log: s3://$bucket/$key"
else
    code="$(sed -n 's:.*<Code>\([A-Za-z]*\)</Code>.*:\1:p' <<<"$answer")"
    say "baked-ami-log: not kept: s3://$bucket answers ${status:-nothing}${code:+ $code}"
fi
