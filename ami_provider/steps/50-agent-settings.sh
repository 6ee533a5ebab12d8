#!/bin/bash
# Put the recipe's settings (agent.config, one NAME=value a line) into /etc/ecs/ecs.config.
# A name that is there already gets the new value; everything else in the file stays.
. "$(dirname "$0")/lib.sh"

target="$root/etc/ecs/ecs.config"
[[ -f "$state/agent.config" ]] || : >"$state/agent.config"

{
    if [[ -f "$target" ]]; then
        while IFS= read -r line || [[ -n "$line" ]]; do
            name="${line%%=*}"
            if [[ "$line" == *=* ]] && grep -q "^$name=" "$state/agent.config"; then continue; fi
            printf '%s\n' "$line"
        done <"$target"
    fi
    cat "$state/agent.config"
} | write_if_changed "$target"
say "$(grep -c = "$state/agent.config" || true) agent settings are in /etc/ecs/ecs.config"
