#!/bin/bash
# Put the recipe's settings (agent.config, one NAME=value a line) into /etc/ecs/ecs.config.
# A name that is there already gets the new value; everything else in the file stays.
. "$(dirname "$0")/lib.sh"

target="$root/etc/ecs/ecs.config"
[[ -f "$state/agent.config" ]] || : >"$state/agent.config"

# Before the first merge on a machine of the base AMI the file is the base AMI's own: an incremental bake goes
# back to it.
if [[ -z "$START" && ! -e "$state/base.settings" ]]; then
    if [[ -f "$target" ]]; then cp "$target" "$state/base.ecs.config"; fi
    : >"$state/base.settings"
fi
merge_settings "$target" | write_if_changed "$target"
say "$(grep -c = "$state/agent.config" || true) agent settings are in /etc/ecs/ecs.config"
