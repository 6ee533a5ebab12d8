#!/bin/bash
# Copy a log from standard input to standard output with what looks like a secret taken out of it,
# by the rules of secret-patterns.txt. The client does the same to what it shows (redaction.py).
set -euo pipefail

# rules KIND REPLACEMENT: sed's commands for the expressions of this kind.
rules() {
    local kind value
    while IFS=$'\t' read -r kind value; do
        if [[ "$kind" == "$1" ]]; then printf 's\001%s\001%s\001g\n' "$value" "$2"; fi
    done < <(grep -v '^#' "$(dirname "$0")/secret-patterns.txt")
}

# A private key is more than its first line.
key='/-----BEGIN [A-Z ]*PRIVATE KEY-----/,/-----END [A-Z ]*PRIVATE KEY-----/s/^[[:space:]]*[A-Za-z0-9+/=]+[[:space:]]*$/[redacted]/'
LC_ALL=C sed -E -e "$key" -f <(
    rules log '\1[redacted]'
    rules text '[redacted]'
)
