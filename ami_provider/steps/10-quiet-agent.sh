#!/bin/bash
# Keep the ECS agent off for this boot, so that a builder never registers with a cluster.
# The mask lives in /run: it does not travel into the AMI.
. "$(dirname "$0")/lib.sh"

if unit_exists ecs.service; then
    systemctl mask --runtime ecs.service >/dev/null 2>&1 || true
    systemctl stop ecs.service >/dev/null 2>&1 || true
    if systemctl is-active --quiet ecs.service; then
        fail agent-running "the ECS agent does not stop"
    fi
    say "the ECS agent is off for this boot"
else
    say "there is no ECS agent to keep off"
fi

# A cluster the agent joined before it could be stopped would be every copy's cluster.
rm -rf "$root"/var/lib/ecs/data/*
