#!/bin/bash
# family.sh IMAGE FAMILY: lay on the common disk what tells a base AMI of this family, as far as scripts look.
# FAMILY is al2023 or al2, the plain AMI, or with -ecs or -gpu the ECS-optimized one. Runs in a mount namespace
# that is thrown away; the image is whole when it returns.
set -eu
image=$1 family=$2
here=$(cd "$(dirname "$0")" && pwd)
os=${family%%-*} kind=${family#"$os"}

case $os in al2023 | al2) ;; *) echo "no base AMI of the family $family: al2023 or al2, with -ecs or -gpu" >&2; exit 2 ;; esac
case $kind in
  "") size=8G ;;
  -ecs | -gpu) size=30G ;;  # the root volumes of Amazon's ECS-optimized AMIs
  *) echo "no base AMI of the family $family: after $os comes nothing, -ecs or -gpu" >&2; exit 2 ;;
esac

# Not while it is mounted: that needs a privilege (CAP_SYS_RESOURCE) which even root may lack.
truncate -s "$size" "$image"
e2fsck -fp "$image" > /dev/null
resize2fs "$image" 2> /dev/null > /dev/null
root=$(mktemp -d)
trap 'umount "$root" 2> /dev/null || true; rmdir "$root"' EXIT
mount -t ext4 -o loop,noatime,noinit_itable "$image" "$root"

cp -r --preserve=mode,links "$here/files/common/." "$here/files/$os/." "$root/"
mkdir -p "$root"/var/lib/{amazon/ssm,cloud} "$root/var/log/amazon/ssm" "$root/var/log/journal"

enable() { ln -sf "/usr/lib/systemd/system/$1" "$root/etc/systemd/system/multi-user.target.wants/$1"; }
enable amazon-ssm-agent.service
enable cloud-init.service
enable cloud-final.service

packages=$root/usr/lib/local-cloud/packages.tsv
mkdir -p "${packages%/*}"
# shellcheck disable=SC2016 # dpkg-query's own variables
chroot "$root" dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' \
  | sed -E 's/\t([0-9]+:)?([^\t-]*)-?([^\t]*)\t(.*)$/\t\2\t\3\t\4/; s/\tamd64$/\tx86_64/; s/\tall$/\tnoarch/; s/\tarm64$/\taarch64/' \
  | awk -F '\t' -v OFS='\t' '{ if ($3 == "") $3 = "1"; gsub(/-/, ".", $3); print }' \
  | sed 's/^docker\.io\t/docker\t/' > "$packages"
cat "$here/files/$os.packages" >> "$packages"
updates=${packages%/*}/updates.tsv
cp "$here/files/$os.updates" "$updates"

if [ -n "$kind" ]; then
  cat "$here/files/ecs.packages" >> "$packages"
  enable ecs.service
  mkdir -p "$root"/var/lib/ecs/data "$root"/var/log/ecs "$root"/etc/ecs "$root"/var/cache/ecs
  : > "$root/etc/ecs/ecs.config"
  tar -C "$here/files/ecs-agent" --owner 0 --group 0 -cf "$root/var/cache/ecs/ecs-agent.tar" .
else
  # A plain Amazon Linux has neither Docker nor the ECS agent.
  rm -f "$root"/usr/bin/{docker,dockerd,docker-proxy,docker-init,containerd,containerd-shim*,runc} \
    "$root"/usr/sbin/{dockerd,runc} "$root"/usr/lib/systemd/system/{docker.*,containerd.service,ecs.service} \
    "$root"/etc/init.d/docker "$root"/etc/rc?.d/*docker "$root"/etc/systemd/system/*.wants/{docker,containerd}.* "$root"/usr/libexec/amazon-ecs-init
  sed -i -E '/^(docker|containerd|runc)\t/d' "$packages"
fi
if [ "$kind" = -gpu ]; then
  cat "$here/files/gpu.packages" >> "$packages"
  cat "$here/files/gpu.updates" >> "$updates"
  cp -r --preserve=mode "$here/files/gpu/." "$root/"
  # The driver's tools are part of the AMI; what they lead to is there only on a machine with a GPU.
  for tool in nvidia-smi nvidia-container-cli nvidia-container-runtime nvidia-container-runtime-hook nvidia-ctk; do
    ln -s "/run/nvidia/bin/$tool" "$root/usr/bin/$tool"
  done
  # The driver's module is built for one kernel: another one at a boot, and there is no driver.
  sed -n 's/^kernel\t//p' "$packages" > "$root/usr/lib/local-cloud/driver-built-for"
fi
if [ "$os" = al2 ]; then
  mv "$root/usr/bin/dnf" "$root/usr/bin/yum"
else
  ln -s dnf "$root/usr/bin/yum"
  # /tmp is memory there; on Amazon Linux 2 it is on the disk.
  ln -s /usr/share/systemd/tmp.mount "$root/usr/lib/systemd/system/tmp.mount"
  mkdir -p "$root/etc/systemd/system/local-fs.target.wants"
  ln -s /usr/share/systemd/tmp.mount "$root/etc/systemd/system/local-fs.target.wants/tmp.mount"
fi
umount "$root"
