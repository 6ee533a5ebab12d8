#!/bin/bash
# prepare.sh ROOT: turn a fresh debootstrap tree into a disk that knows neither this host nor where it came from.
set -eu
root=$1

# Names of this host and of package servers, caches, documentation, and tools that no one here calls.
rm -rf "$root"/etc/{hostname,hosts,resolv.conf,machine-id} "$root"/var/lib/dbus/machine-id \
  "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/*proxy* \
  "$root"/var/lib/apt/lists/* "$root"/var/cache/{apt,debconf,ldconfig,man}/* "$root"/var/log/*.log \
  "$root"/var/log/apt "$root"/debootstrap "$root"/usr/bin/{dnet,ovrouter,ctr,containerd-stress} \
  "$root"/usr/bin/containerd-shim "$root"/usr/bin/containerd-shim-runc-v1 \
  "$root"/usr/share/{doc,man,info,lintian,locale}/* "$root"/etc/ssh/ssh_host_* "$root"/run/* "$root"/tmp/*
: > "$root/etc/machine-id"
: > "$root/etc/fstab"
printf '127.0.0.1 localhost localhost.localdomain\n::1 localhost6\n' > "$root/etc/hosts"
ln -s ../run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"

# Where Amazon Linux has them: sh is bash, the list of authorities.
ln -sf bash "$root/usr/bin/sh"
mkdir -p "$root/etc/pki/tls/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/etc/pki/tls/certs/ca-bundle.crt"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/etc/pki/tls/cert.pem"

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 ec2-user
printf 'ec2-user ALL=(ALL) NOPASSWD:ALL\n' > "$root/etc/sudoers.d/90-cloud-init-users"
chmod 440 "$root/etc/sudoers.d/90-cloud-init-users"
rm -f "$root/etc/systemd/system/getty.target.wants/getty@tty1.service"
