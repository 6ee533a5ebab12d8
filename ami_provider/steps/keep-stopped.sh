#!/bin/bash
# Before this machine is stopped for a later look: its logs onto its disk, and after every start a
# timer that ends it. Nothing is imaged from it any more.
. "$(dirname "$0")/lib.sh"

mkdir -p "$root/var/log/baked-ami"
cp -a "$state/log/." "$root/var/log/baked-ami/"

units="$root/etc/systemd/system"
write_if_changed "$units/baked-ami-kept.service" <<'EOF'
[Unit]
Description=End this machine, which was kept for a look

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl poweroff
EOF
write_if_changed "$units/baked-ami-kept.timer" <<'EOF'
[Unit]
Description=End this machine some hours after it was started for a look

[Timer]
OnBootSec=4h

[Install]
WantedBy=timers.target
EOF
systemctl enable baked-ami-kept.timer
sync
say "kept"
