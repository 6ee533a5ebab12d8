#!/bin/bash
# Remove what must not be in every copy: identities, credentials, histories, logs, caches, temporary files.
# What the agents need to answer for this very command is left to them.
. "$(dirname "$0")/lib.sh"

# empty FOLDER...: remove what is in it, keep the folder.
empty() {
    local folder
    for folder in "$@"; do
        if [[ -d "$folder" ]]; then find "$folder" -xdev -mindepth 1 -delete 2>/dev/null || true; fi
    done
}

# Credentials of this builder.
rm -rf "$state/docker"
rm -rf "$root"/root/.docker "$root"/home/*/.docker "$root"/root/.aws "$root"/home/*/.aws

# Identities that every copy must make for itself.
rm -f "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub
rm -f "$root"/root/.ssh/authorized_keys* "$root"/home/*/.ssh/authorized_keys*
rm -rf "$root"/var/lib/ecs/data/*
if [[ -e "$root/etc/machine-id" ]]; then : >"$root/etc/machine-id"; fi
if [[ -e "$root/var/lib/dbus/machine-id" && ! -L "$root/var/lib/dbus/machine-id" ]]; then
    rm -f "$root/var/lib/dbus/machine-id"
fi
rm -f "$root/etc/docker/key.json" "$root/var/lib/docker/engine-id"
rm -f "$root/var/lib/systemd/random-seed" "$root"/var/lib/systemd/credential.secret
rm -f "$root"/var/lib/NetworkManager/secret_key "$root"/var/lib/NetworkManager/*.lease
empty "$root/var/lib/cloud"

# The agent's records of commands that have ended. The one that runs this step is its own to keep.
for folder in "$root"/var/lib/amazon/ssm/*/document/orchestration/*; do
    if [[ -d "$folder" && "${BAKED_AMI_COMMAND:-$0}" != "$folder"/* ]]; then rm -rf "$folder"; fi
done
rm -rf "$root"/var/lib/amazon/ssm/*/document/state/completed/*

# Histories, caches, temporary files.
rm -f "$root"/root/.*_history "$root"/home/*/.*_history "$root"/root/.lesshst "$root"/root/.viminfo
rm -f "$root"/root/.wget-hsts "$root"/home/*/.lesshst "$root"/home/*/.viminfo
if [[ -z "$root" ]]; then
    if has dnf; then dnf clean all >/dev/null 2>&1 || true; fi
    if has yum; then yum clean all >/dev/null 2>&1 || true; fi
    if has apt-get; then apt-get clean >/dev/null 2>&1 || true; fi
fi
empty "$root/var/cache/dnf" "$root/var/cache/yum" "$root/root/.cache"
find "$root/tmp" "$root/var/tmp" -xdev -mindepth 1 -not -path '*/systemd-private-*' \
    -not -path '*/.X11-unix*' -delete 2>/dev/null || true
if [[ -d "$root/opt" ]]; then
    find "$root/opt" "$root/srv" -xdev -name '.*.baked-ami-part' -type f -delete 2>/dev/null || true
fi
if [[ -s "$state/models.tsv" ]]; then
    while IFS=$'\t' read -r _ _ destination _; do
        rm -f "$(dirname "$root$destination")/.$(basename "$destination").baked-ami-part"
    done <"$state/models.tsv"
fi

# Logs: files that are open are emptied, the rest goes.
if [[ -d "$root/var/log" ]]; then
    if [[ -z "$root" ]] && has journalctl; then
        journalctl --rotate >/dev/null 2>&1 || true
        journalctl --vacuum-time=1s >/dev/null 2>&1 || true
    fi
    find "$root/var/log" -xdev -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*-[0-9]*' \
        -o -name '*.old' -o -name '*@*.journal*' \) -delete 2>/dev/null || true
    find "$root/var/log" -xdev -type f -not -path '*/journal/*' -exec truncate -s 0 {} + 2>/dev/null || true
fi
say "cleaned up"
