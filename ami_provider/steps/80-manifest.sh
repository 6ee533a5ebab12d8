#!/bin/bash
# Write down in /etc/baked-ami what this AMI holds: manifest.json for readers, models.sha256 and
# layers.sha256 for the check of the booted AMI. The same content gives the same files.
. "$(dirname "$0")/lib.sh"

folder="$root/etc/baked-ami"
mkdir -p "$folder"

version_of() { "$@" 2>/dev/null | head -n 1 || true; }

models=""
: >"$state/models.sha256"
if [[ -s "$state/models.tsv" ]]; then
    while IFS=$'\t' read -r _ _ destination _; do
        sha256="$(sha256sum <"$root$destination" | cut -d ' ' -f 1)"
        printf '%s  %s\n' "$sha256" "$destination" >>"$state/models.sha256"
        models="$models${models:+,}$(json_string "$destination"):\"$sha256\""
    done <"$state/models.tsv"
fi
if [[ -s "$state/models.fetched" ]] && ! changed="$(diff "$state/models.fetched" "$state/models.sha256")"; then
    fail model-checksum "changed after it was fetched, by an extra step: $(
        sed -n 's/^> [0-9a-f]*  //p' <<<"$changed" | paste -sd ' ' -)"
fi
write_if_changed "$folder/models.sha256" <"$state/models.sha256"

# For an incremental bake from this AMI: what the models' bytes are known by, and which folders were made for them.
number=0
while [[ -f "$state/models/$number" ]]; do
    cat "$state/models/$number"
    number=$((number + 1))
done | write_if_changed "$folder/models.tsv"
{ sort -u "$state/folders.made" 2>/dev/null || true; } | write_if_changed "$folder/folders"
if [[ -z "$START" && -f "$state/base.images" ]]; then
    write_if_changed "$base/images" <"$state/base.images"
    { cat "$state/base.files" 2>/dev/null || true; } | write_if_changed "$base/files"
    if [[ -f "$state/base.ecs.config" ]]; then
        write_if_changed "$base/ecs.config" <"$state/base.ecs.config"
    else
        rm -f "$base/ecs.config"
    fi
fi

images=""
if [[ -s "$state/images.tsv" ]]; then
    while IFS=$'\t' read -r uri tag; do
        [[ "$tag" != - ]] || tag=""
        id="$(docker image inspect --format '{{.Id}}' "$uri")"
        images="$images${images:+,}{\"uri\":$(json_string "$uri"),\"tag\":$(json_string "$tag"),\"id\":\"$id\"}"
    done <"$state/images.tsv"
fi

packages="[]"
if has rpm; then
    packages="[$(rpm -qa --qf '"%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}"\n' | LC_ALL=C sort | paste -sd , -)]"
elif has dpkg-query; then
    packages="[$(dpkg-query -W -f '"${Package}-${Version}.${Architecture}"\n' | LC_ALL=C sort | paste -sd , -)]"
fi
driver=""
if has nvidia-smi; then
    driver="$(version_of nvidia-smi --query-gpu=driver_version --format=csv,noheader)"
elif has modinfo; then
    driver="$(version_of modinfo -F version nvidia)"
fi
agent=""
if has rpm; then agent="$(rpm -q --qf '%{VERSION}' ecs-init 2>/dev/null)" || agent=""; fi

write_if_changed "$folder/manifest.json" <<JSON
{
  "fingerprint": $(json_string "${FINGERPRINT:-}"),
  "recipe": $(cat "$state/recipe.json" 2>/dev/null || echo '{}'),
  "images": [$images],
  "models": {$models},
  "versions": {
    "kernel": $(json_string "$(uname -r)"),
    "nvidia_driver": $(json_string "$driver"),
    "docker": $(json_string "$(docker version --format '{{.Server.Version}}' 2>/dev/null || true)"),
    "ecs_agent": $(json_string "$agent")
  },
  "packages": $packages
}
JSON

layers_digest | write_if_changed "$folder/layers.sha256"
say "wrote $folder/manifest.json"
result "{\"models\":{$models},\"layers\":$(json_string "$(cat "$folder/layers.sha256")"),\"docker\":$(
    json_string "$(docker version --format '{{.Server.Version}}' 2>/dev/null || true)"),\"nvidia_driver\":$(
    json_string "$driver"),\"ecs_agent\":$(json_string "$agent")}"
