#!/bin/bash
# Log in to every ECR registry of the recipe, with the credentials in memory only.
# ECR_LOGINS has one "registry-host api-host region" a line; the API is asked with the machine's role.
. "$(dirname "$0")/lib.sh"

export DOCKER_CONFIG="$state/docker"
mkdir -p "$DOCKER_CONFIG"
chmod 700 "$DOCKER_CONFIG"

# Prints the password of one registry. Sets nothing, traces nothing.
ecr_password() {
    local api="$1" region="$2" account="$3" answer status body
    answer="$(signed_curl ecr "$region" -sS --connect-timeout 10 --max-time 60 --retry 4 \
        -H 'Content-Type: application/x-amz-json-1.1' \
        -H 'X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken' \
        --data "{\"registryIds\":[\"$account\"]}" -w '\n%{http_code}' "https://$api/")" ||
        fail registry-unreachable "https://$api/ does not answer (curl exit $?)"
    status="${answer##*$'\n'}"
    body="${answer%$'\n'*}"
    case "$status" in
        200) ;;
        400 | 401 | 403)
            case "$body" in
                *AccessDenied*) fail ecr-denied "ecr:GetAuthorizationToken is denied to this machine's role" ;;
                *RequestExpired* | *SignatureDoesNotMatch* | *InvalidSignature* | *RequestTimeTooSkewed*)
                    fail clock-skew "ECR refuses the signature of $(date -u +%FT%TZ): ${body:0:300}" ;;
                *) fail ecr-denied "ECR answers $status: ${body:0:300}" ;;
            esac
            ;;
        *) fail registry-unreachable "https://$api/ answers $status: ${body:0:300}" ;;
    esac
    json_field authorizationToken <<<"$body" | base64 -d | sed 's/^AWS://'
}

log_in() {
    local registry="$1" api="$2" region="$3" password message
    password="$(ecr_password "$api" "$region" "${registry%%.*}")" || {
        say "$password" # a failure's own text: a password only comes with success
        exit 70
    }
    [[ -n "$password" ]] || fail ecr-denied "ECR gave no token for $registry"
    if ! message="$(docker login --username AWS --password-stdin "$registry" <<<"$password" 2>&1)"; then
        case "$message" in
            *"no such host"* | *"connection refused"* | *timeout* | *"deadline exceeded"* | *unreachable*)
                fail registry-unreachable "docker login $registry: $(last 400 "$message")" ;;
            *"token has expired"*) fail token-expired "docker login $registry: $(last 400 "$message")" ;;
            *) fail ecr-denied "docker login $registry: $(last 400 "$message")" ;;
        esac
    fi
    say "logged in to $registry"
}

if [[ -z "${ECR_LOGINS:-}" ]]; then
    say "no image of this recipe needs a login"
    exit 0
fi
read_role_credentials
while read -r registry api region; do
    [[ -z "$registry" ]] || log_in "$registry" "$api" "$region"
done <<<"$ECR_LOGINS"
